"""What runs in vLLM's worker: the proposer that vLLM asks for drafts, and the calls that reach it from outside.

Written against vLLM 0.32's `custom_class` proposer and `worker_extension_cls`; needs neither to be imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tidegate.services.llm.targets.vllm.draft_alignment import WIDTH
from tidegate.services.llm.targets.vllm.drafts import Counts, Drafts

EXTRA = "tidegate"
"""The key of a request's `extra_args` under which its draft travels, as `{"key", "draft", "most", "lookup", "quotes"}`.

`lookup`: whether the request's own prompt is looked up too, with a draft or without; `quotes`: whether behind a mark
nothing but that passage can come.
"""


class Row(Protocol):
    """What is read of one of vLLM's requests."""

    num_prompt_tokens: int
    sampling_params: Any


class Batch(Protocol):
    req_ids: list[str]


class Runner(Protocol):
    """What is read of vLLM's model runner: who sits in which row, and what came with each request."""

    requests: Mapping[str, Row]
    input_batch: Batch


class EdgeDraftProposer:
    """Proposes what the edge shipped, where it still fits what the target says, or what the prompt goes on with, where
    the request lets it look there; nothing for any other request.

    vLLM makes one in each worker. Without a proposal for any row the next step is a plain one.
    """

    def __init__(self, config: Any) -> None:
        self.width = min(WIDTH, config.speculative_config.num_speculative_tokens)
        self.limit = config.model_config.max_model_len
        self.drafts = Drafts()
        self.runner: Runner | None = None

    def load_model(self, *_args: object, **_options: object) -> None:
        """There is no model to load; vLLM asks all the same."""

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: Sequence[int],
        token_ids_cpu: Any,
        slot_mappings: object = None,  # noqa: ARG002 - vLLM names it
    ) -> list[list[int]]:
        """Drafts for the next step, row by row. A row is a request's prompt and all that was said, new ids included.

        `sampled_token_ids` are the new ids per row (none while its prompt is still being read), `num_tokens_no_spec`
        the rows' lengths, `token_ids_cpu` is int32 (rows, longest).
        """
        if self.runner is None:
            return [[] for _ in sampled_token_ids]
        names = self.runner.input_batch.req_ids
        return [
            self._next(self.runner.requests[names[row]], new, token_ids_cpu[row], int(num_tokens_no_spec[row]))
            if new
            else []
            for row, new in enumerate(sampled_token_ids)
        ]

    def _next(self, request: Row, new: Sequence[int], ids: Any, length: int) -> list[int]:
        extra = (request.sampling_params.extra_args or {}).get(EXTRA)
        if extra is None or not (extra["draft"] or extra["lookup"] or extra["key"] in self.drafts):
            return []
        begin = request.num_prompt_tokens
        room = min(self.width, self.limit - length - 1, extra["most"] - (length - begin) - 1)
        is_read = not extra["lookup"] or self.drafts.follows(extra["key"])
        prompt = () if is_read else ids[:begin].tolist()
        said = ids[begin:length].tolist()
        followed = self.drafts.heard(extra["key"], extra["draft"], new, said, prompt, quotes=extra["quotes"])
        return followed.next(room) if followed else []


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

    def tidegate_late_draft(self, key: str, draft: Sequence[int]) -> None:
        """A draft for a request that is already on its way."""
        self.model_runner.drafter.drafts.put(key, draft)

    def tidegate_settle(self, key: str) -> tuple[int, int, int]:
        """Forget a request's draft: its steps, proposed tokens, accepted tokens; zeros when it had none."""
        counts: Counts = self.model_runner.drafter.drafts.settle(key)
        return counts.steps, counts.drafted, counts.accepted

    def tidegate_held(self) -> int:
        """How many drafts are held."""
        return len(self.model_runner.drafter.drafts)
