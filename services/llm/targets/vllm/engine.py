"""vLLM in process: the one module that imports it, and only when an engine starts."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.llm.drafters.base import MOST_DRAFTED
from tidegate.services.llm.targets.vllm.proposer import EXTRA

ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; the default takes half of the machine
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before vLLM is imported, where the environment does not set it otherwise."""
PROPOSER = "tidegate.services.llm.targets.vllm.proposer.EdgeDraftProposer"
EXTENSION = "tidegate.services.llm.targets.vllm.proposer.WorkerDrafts"
PROPOSERS: dict[str, dict[str, Any]] = {
    "edge": {"method": "custom_class", "model": PROPOSER, "num_speculative_tokens": MOST_DRAFTED},
    "ngram": {
        "method": "ngram",
        "num_speculative_tokens": MOST_DRAFTED,
        "prompt_lookup_min": 2,
        "prompt_lookup_max": 8,
    },
}
STOP_S = 3.0


class EngineStoppedError(TidegateError, ConnectionError):
    """The engine's process has ended, or does not serve any more; it must be started anew."""

    hint = "ask again in some seconds: the target starts it anew by itself"


class VllmUnsuitableError(TidegateError, RuntimeError):
    """This vLLM does not do what a target needs of it."""

    hint = "install vLLM 0.32.0; `make vllm` does, and `pip install tidegate[cloud]` on a GPU machine"


class SamplingRefusedError(TidegateError, ValueError):
    """The engine refuses these sampling parameters or this prompt, for the reason in the message."""

    hint = "give a temperature of at most 2, and a prompt that fits the model's context"


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an engine is started. `max_model_len` and `max_batched_tokens` count tokens, `max_requests` requests.

    On a CPU the model runs in float32 (in half precision many tokens tie, and a tie is broken by who else is in the
    batch), and nothing is compiled, which takes a minute and is for large models. On a GPU it runs in its own type, and
    everything is compiled.
    """

    max_model_len: Annotated[int, msgspec.Meta(ge=64)] = 1024
    max_requests: Annotated[int, msgspec.Meta(ge=1)] = 64
    max_batched_tokens: Annotated[int, msgspec.Meta(ge=256)] = 4096
    proposer: Literal["edge", "ngram"] = "edge"
    quotes: bool = False
    """Whether answers may be held to a grammar; takes a tokenizer that the library `transformers` reads."""


class EngineSampling(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the sampler. `key`, `draft` and `lookup` travel to the proposer with the request itself."""

    key: str
    draft: tuple[int, ...]
    lookup: bool = False
    """Whether the proposer may look in the prompt too."""
    grammar: str = ""
    """EBNF, as xgrammar reads it, that the answer must keep to; empty for none."""
    max_tokens: int
    ends: tuple[int, ...]
    """The tokens that end an answer; empty: nothing does but its length."""
    is_marked: bool = True
    """Whether the ids hold our own marks; those of another tokenizer do not."""
    temperature: float = 0.0
    seed: int = 0


class VllmEngine:
    """One running vLLM engine; every method raises `EngineStoppedError` once its process has ended."""

    def __init__(self, llm: Any, params: Any, dead: type[Exception], refused: tuple[type[Exception], ...]) -> None:
        self._llm = llm
        self._params = params
        self._dead = dead
        self._refused = refused
        self._is_stopping = False

    @classmethod
    async def start(cls, directory: Path, settings: EngineSettings) -> VllmEngine:
        """Load the model; tens of seconds. Raises `VllmUnsuitableError` without vLLM, or where it takes no proposer."""
        loading = asyncio.ensure_future(asyncio.to_thread(cls._load, directory, settings))
        try:
            engine = await asyncio.shield(loading)
        except asyncio.CancelledError:
            loading.add_done_callback(_stop_unwanted)  # the thread cannot be stopped, and starts a process
            raise
        if settings.proposer == "edge" and not all(await engine.call("tidegate_bind")):
            engine.stop()
            raise VllmUnsuitableError("this vLLM does not take the proposer; 0.32.0 does")
        return engine

    @classmethod
    def _load(cls, directory: Path, settings: EngineSettings) -> VllmEngine:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        try:
            from vllm import SamplingParams  # type: ignore[import-not-found,unused-ignore]
        except ModuleNotFoundError as error:
            raise VllmUnsuitableError("vLLM is not installed in this environment") from error
        from vllm.engine.arg_utils import AsyncEngineArgs  # type: ignore[import-not-found,unused-ignore]
        from vllm.exceptions import VLLMClientError  # type: ignore[import-not-found,unused-ignore]
        from vllm.platforms import current_platform  # type: ignore[import-not-found,unused-ignore]
        from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found,unused-ignore]
        from vllm.v1.engine.exceptions import EngineDeadError  # type: ignore[import-not-found,unused-ignore]

        arguments = AsyncEngineArgs(
            model=str(directory),
            skip_tokenizer_init=not settings.quotes,  # token ids in, token ids out; but no grammar without one
            structured_outputs_config={"backend": "xgrammar"},  # llguidance 1.7 cannot take back tokens named by id
            generation_config="vllm",  # or the model's own file changes the sampling unseen
            dtype="float32" if current_platform.is_cpu() else "auto",
            max_model_len=settings.max_model_len,
            max_num_seqs=settings.max_requests,
            max_num_batched_tokens=settings.max_batched_tokens,
            enable_prefix_caching=True,
            worker_extension_cls=EXTENSION,
            enforce_eager=current_platform.is_cpu(),
            speculative_config=PROPOSERS[settings.proposer],
            disable_log_stats=True,
        )
        with _preloaded():
            llm = AsyncLLM.from_engine_args(arguments)
        return cls(llm, SamplingParams, EngineDeadError, (VLLMClientError, ValueError))

    @property
    def is_dead(self) -> bool:
        return bool(self._llm.errored)

    async def stream(
        self, prompt: Sequence[int], sampling: EngineSampling, salt: str
    ) -> AsyncGenerator[tuple[list[int], str], None]:
        """The new ids after each step, and at the end why it ended (`stop`, `length`, or empty while it goes on).

        Requests share cached prefixes only under the same `salt`. Leaving the iterator early aborts the request. Raises
        `EngineStoppedError`, `SamplingRefusedError`.
        """
        given: dict[str, Any] = {"prompt_token_ids": list(prompt)}
        if salt:
            given["cache_salt"] = salt
        try:
            outputs = self._llm.generate(given, self._sampling(sampling), request_id=sampling.key)
            async with aclosing(outputs):
                async for output in outputs:
                    (piece,) = output.outputs
                    yield list(piece.token_ids), piece.finish_reason or ""
        except self._dead as error:
            raise EngineStoppedError("the engine has ended") from error
        except self._refused as error:
            raise SamplingRefusedError(str(error)) from error

    async def call(self, method: str, *args: object) -> list[Any]:
        """Call a method of the worker extension in every worker."""
        try:
            answers: list[Any] = await self._llm.collective_rpc(method, args=args)
        except self._dead as error:
            raise EngineStoppedError("the engine has ended") from error
        except Exception as error:
            if self._is_stopping:  # vLLM then answers with a bare Exception
                raise EngineStoppedError("the engine has ended") from error
            raise
        return answers

    def stop(self) -> None:
        """End the engine's process; requests in flight, and calls, end with `EngineStoppedError`."""
        self._is_stopping = True
        self._llm.shutdown(timeout=STOP_S)

    def _sampling(self, sampling: EngineSampling) -> Any:
        from vllm.sampling_params import (  # type: ignore[import-not-found,unused-ignore]
            RequestOutputKind,
            StructuredOutputsParams,
        )

        extra = {"key": sampling.key, "draft": list(sampling.draft), "most": sampling.max_tokens}
        extra |= {"lookup": sampling.lookup, "quotes": bool(sampling.grammar), "marked": sampling.is_marked}
        return self._params(
            temperature=sampling.temperature,
            seed=sampling.seed if sampling.temperature > 0.0 else None,
            max_tokens=sampling.max_tokens,
            stop_token_ids=list(sampling.ends),
            ignore_eos=not sampling.ends,
            detokenize=False,
            output_kind=RequestOutputKind.DELTA,
            structured_outputs=StructuredOutputsParams(grammar=sampling.grammar) if sampling.grammar else None,
            extra_args={EXTRA: extra},
        )


def version_of(directory: Path) -> str:
    """Twelve digits that change with the model in the directory."""
    digest = hashlib.sha256((directory / "config.json").read_bytes())
    for path in sorted(directory.glob("*.safetensors")):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def _stop_unwanted(loading: asyncio.Future[VllmEngine]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().stop()


@contextmanager
def _preloaded() -> Iterator[None]:
    """Let the processes that vLLM starts meanwhile load Intel's OpenMP, where its wheel brought it.

    Without it vLLM's speculation on a CPU is slow, as vLLM itself warns.
    """
    library = Path(sys.prefix) / "lib" / "libiomp5.so"
    before = os.environ.get("LD_PRELOAD")
    if library.is_file() and "libiomp" not in (before or ""):
        os.environ["LD_PRELOAD"] = f"{before}:{library}" if before else str(library)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("LD_PRELOAD", None)
        else:
            os.environ["LD_PRELOAD"] = before
