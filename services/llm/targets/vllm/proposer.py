"""What runs in vLLM's worker: the proposer that vLLM asks for drafts, and the calls that reach it from outside.

A thin adapter of `drafters.alignment` to vLLM 0.32's `custom_class` proposer and `worker_extension_cls`; needs neither
to be imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidegate.services.llm.drafters.base import MOST_DRAFTED
from tidegate.services.llm.targets.vllm.request_drafts import RequestDrafts

EXTRA = "tidegate"
"""The key of a request's `extra_args` under which its draft travels, as `{"key", "draft", "most", "lookup", "quotes",
"marked"}`.

`lookup`: whether the request's own prompt is looked up too, with a draft or without; `quotes`: whether behind a mark
nothing but that passage can come; `marked`: whether the ids hold our own marks at all.
"""


class EdgeDraftProposer:
    """Proposes what the edge shipped, where it still fits the answer, or what the prompt goes on with, where the
    request lets it look there; nothing for any other request.

    vLLM makes one in each worker. Without a proposal for any row the next step is a plain one.
    """

    def __init__(self, config: Any) -> None:
        self.width = min(MOST_DRAFTED, config.speculative_config.num_speculative_tokens)
        self.limit = config.model_config.max_model_len
        self.drafts = RequestDrafts()
        self.runner: Any = None  # vLLM's own: who sits in which row, and what came with each request

    def load_model(self, *_args: object, **_options: object) -> None:
        """There is no model to load; vLLM asks all the same."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: Sequence[int],
        token_ids_cpu: Any,
        slot_mappings: object = None,  # noqa: ARG002 - vLLM names it
    ) -> list[list[int]]:
        """Drafts for the next step, row by row. A row is a request's prompt and its whole answer, new ids included.

        `sampled_token_ids` are the new ids per row (none while its prompt is still being read), `num_tokens_no_spec`
        the rows' lengths, `token_ids_cpu` is int32 (rows, longest).
        """
        if self.runner is None:
            return [[] for _ in sampled_token_ids]
        names = self.runner.input_batch.req_ids
        return [
            self._propose(self.runner.requests[names[row]], new, token_ids_cpu[row], int(num_tokens_no_spec[row]))
            if new
            else []
            for row, new in enumerate(sampled_token_ids)
        ]

    def _propose(self, request: Any, new: Sequence[int], ids: Any, length: int) -> list[int]:
        extra = (request.sampling_params.extra_args or {}).get(EXTRA)
        if extra is None or not (extra["draft"] or extra["lookup"]):
            return []
        key, begin = extra["key"], request.num_prompt_tokens
        answer = ids[begin:length].tolist()
        if key in self.drafts:
            held = self.drafts.observe(key, new, answer)
        else:
            prompt = ids[:begin].tolist() if extra["lookup"] else ()
            marks = {"quotes": extra["quotes"], "is_marked": extra.get("marked", True)}
            held = self.drafts.add(key, extra["draft"], answer, prompt, **marks)
        room = min(self.width, self.limit - length - 1, extra["most"] - (length - begin) - 1)
        return held.propose(room)


class WorkerDrafts:
    """The methods that vLLM's worker gains (`worker_extension_cls`); called by `collective_rpc`, by these names."""

    model_runner: Any

    def tidegate_bind(self) -> bool:
        """Show the proposer who sits in which row; False where this engine has no such proposer."""
        proposer = getattr(self.model_runner, "drafter", None)
        if not isinstance(proposer, EdgeDraftProposer):
            return False
        proposer.runner = self.model_runner
        return True

    def tidegate_settle(self, key: str) -> tuple[int, int, int]:
        """See `RequestDrafts.settle`."""
        drafts: RequestDrafts = self.model_runner.drafter.drafts
        return drafts.settle(key)

    def tidegate_held(self) -> int:
        """How many drafts are held."""
        return len(self.model_runner.drafter.drafts)
