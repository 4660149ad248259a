"""The other party: a completions server with a real model behind it, on a real socket, that offers what it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.chat_server import as_openai
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling, choose

EVERYTHING = frozenset(("batch", "prompt_logprobs", "ids", "stream", "tokens", "chat"))


class CompletionsServer:
    """Speaks vLLM's dialect of the completions API, greedily or by seed; `offers` says which parts of it."""

    def __init__(self, lm: CausalLM, offers: Iterable[str] = EVERYTHING) -> None:
        self.lm = lm
        self.offers = set(offers)
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.refuses: set[str] = set()
        """Parameters that it refuses in words, one at a time, as OpenAI does."""
        self.break_after = 0
        """Pieces of a stream after which it breaks off; 0: never."""
        self.holds_after = 0
        """Pieces of a stream after which it says nothing until `go_on` is set; 0: never."""
        self.go_on = asyncio.Event()
        self.says = ""
        """What the chat says, where it does not spell the model."""
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[CompletionsServer]:
        routes = {"/v1/completions": self.complete, "/v1/chat/completions": self.chat}
        routes |= {"/tokenize": self.tokenize, "/detokenize": self.detokenize}
        app = Starlette(routes=[Route(path, answer, methods=["POST"]) for path, answer in routes.items()])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=5))
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield self
        finally:
            self.go_on.set()  # or it would wait for an answer that nobody lets go on
            server.should_exit = True
            await task

    async def tokenize(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if "tokens" not in self.offers:
            return PlainTextResponse("not found", status_code=404)
        return JSONResponse({"tokens": self.lm.tokens.encode(body["prompt"])})

    async def detokenize(self, request: Request) -> Response:
        body = json.loads(await request.body())
        if "tokens" not in self.offers:
            return PlainTextResponse("not found", status_code=404)
        return JSONResponse({"prompt": self.lm.tokens.decode(body["tokens"])})

    async def complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.asked.append(body)
        refused = self._refused(body)
        if refused:
            return PlainTextResponse("no", status_code=refused)
        if body.get("stream"):
            return StreamingResponse(self._events(body), media_type="text/event-stream")
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        choices = []
        for index, prompt in enumerate(prompts):
            rows = self._rows(prompt)
            choice: dict[str, Any] = {"index": index, "text": "", "token_ids": [int(rows[-1].argmax())]}
            if "prompt_logprobs" in body:
                choice["prompt_logprobs"] = _scores(rows, prompt)
            choices.append(choice)
        return JSONResponse({"choices": choices})

    async def chat(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.asked.append(body)
        if "chat" not in self.offers or self.status != 200:
            return PlainTextResponse("no", status_code=self.status if self.status != 200 else 404)
        for name in body.keys() & self.refuses:
            status, fault = as_openai(name, body[name])
            return JSONResponse(fault, status_code=status)
        words = [piece if number == 0 else " " + piece for number, piece in enumerate(self.says.split(" "))]
        events: list[dict[str, Any]] = [{"choices": [{"delta": {"content": word}}]} for word in words]
        events.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
        return StreamingResponse(self._lines(events), media_type="text/event-stream")

    def _refused(self, body: dict[str, Any]) -> int:
        if self.status != 200:
            return self.status
        is_batch = isinstance(body["prompt"], list) and isinstance(body["prompt"][0], list)
        wanted = {
            "batch": is_batch and len(body["prompt"]) > 1,
            "prompt_logprobs": "prompt_logprobs" in body,
            "stream": bool(body.get("stream")),
            "ids": not isinstance(body["prompt"], str),
        }
        return 400 if any(is_asked and name not in self.offers for name, is_asked in wanted.items()) else 0

    def _rows(self, ids: Sequence[int]) -> Any:
        return self.lm.open().forward(list(ids))

    async def _events(self, body: dict[str, Any]) -> AsyncIterator[str]:
        prompt = body["prompt"]
        ids = list(self.lm.tokens.encode(prompt) if isinstance(prompt, str) else prompt)
        sampling = Sampling(seed=body.get("seed", 0), temperature=body.get("temperature", 0))
        context = self.lm.open()
        new = ids
        events: list[dict[str, Any]] = []
        for number in range(body["max_tokens"]):
            token = choose(context.forward(new)[-1], sampling, context.length)
            new = [token]
            is_end = token == self.lm.tokens.end
            why = "stop" if is_end else "length" if number + 1 == body["max_tokens"] else None
            text = self.lm.tokens.decode(new)
            events.append({"choices": [{"text": text, "token_ids": new, "finish_reason": why}]})
            if is_end:
                break
        async for line in self._lines(events):
            yield line

    async def _lines(self, events: Sequence[dict[str, Any]]) -> AsyncIterator[str]:
        for number, event in enumerate(events, 1):
            yield f"data: {json.dumps(event)}\n\n"
            if number == self.holds_after:
                await self.go_on.wait()
            if number == self.break_after:
                return
        yield "data: [DONE]\n\n"


def _scores(rows: Any, prompt: Sequence[int]) -> list[dict[str, dict[str, float]] | None]:
    scores: list[dict[str, dict[str, float]] | None] = [None]
    for row, token in zip(rows, prompt[1:], strict=False):
        logs = row - np.log(np.exp(row - row.max()).sum()) - row.max()
        scores.append({str(each): {"logprob": float(logs[each])} for each in (token, int(row.argmax()))})
    return scores
