"""The other party: a server that speaks the OpenAI API, chat and completions, on a real socket, and misbehaves as it is
asked to."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

Refusal = tuple[int, dict[str, Any]]


def as_openai(name: str, value: object) -> Refusal:
    """How OpenAI refuses a parameter to a reasoning model; `value` is what was sent."""
    advice = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    texts = {
        "temperature": f"Unsupported value: 'temperature' does not support {value} with this model. "
        "Only the default (1) value is supported.",
        "stream": "Your organization must be verified to stream this model.",
    }
    return 400, {
        "error": {
            "message": texts.get(name, f"Unsupported parameter: '{name}' is not supported with this model.{advice}"),
            "type": "invalid_request_error",
            "param": name,
            "code": "unsupported_value" if name in texts else "unsupported_parameter",
        }
    }


def in_words(name: str, _: object) -> Refusal:
    """A server that names the parameter in its message alone."""
    return 400, {"error": {"message": f"Unrecognized request argument supplied: {name}"}}


def as_fastapi(name: str, value: object) -> Refusal:
    """A server that checks its requests with pydantic."""
    fault = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": value}
    return 422, {"detail": [fault]}


class ModelServer:
    """Answers from the first numbered passage that shares the question's longest word; `mode` changes how.

    It streams where it is asked to. `refuses` are the parameters that it refuses, one at a time, as `refuse_as` does.
    """

    def __init__(self) -> None:
        self.mode = "answer"
        self.refuses: set[str] = set()
        self.refuse_as: Callable[[str, object], Refusal] = as_openai
        self.ignores_stream = False
        self.chats = True
        """Whether it has a chat; the completion of a text it has always."""
        self.reply = ""
        """What it answers, where that does not come from the passages."""
        self.replies: list[str] = []
        """What it answers before that, one after the other."""
        self.holds_after = 0
        """Pieces of a stream after which it waits until `go_on` is set; 0: never."""
        self.breaks_after = 0
        """Pieces of a stream after which it breaks off; 0: never."""
        self.thinks = 0
        """Tokens that it spends before it answers: with a limit of fewer it answers nothing."""
        self.go_on = asyncio.Event()
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.sent: list[str] = []
        """The pieces that were streamed, as they went out."""
        self.url = ""

    async def complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        is_text = "prompt" in body
        if not (self.chats or is_text):
            return PlainTextResponse("not found", status_code=404)
        if self.mode.isdigit():
            return PlainTextResponse("no", status_code=int(self.mode))
        refused = next((name for name in body if name in self.refuses), None)
        if refused is not None:
            status, fault = self.refuse_as(refused, body[refused])
            return JSONResponse(fault, status_code=status)
        if self.mode == "garbage":
            return PlainTextResponse("<html>")
        if self.mode == "slow":
            await asyncio.sleep(0.5)  # what it takes to be slower than the asker waits
        asked = [body["prompt"]] if is_text else [each["content"] for each in body["messages"]]
        text = self.replies.pop(0) if self.replies else self.reply or self.answer(asked)
        reason = "stop"
        if self.thinks > min(body.get("max_tokens", 1 << 20), body.get("max_completion_tokens", 1 << 20)):
            text, reason = "", "length"
        if body.get("stream") and not self.ignores_stream:
            return StreamingResponse(self._events(text, reason, is_text=is_text), media_type="text/event-stream")
        content = {"text": text} if is_text else {"message": {"role": "assistant", "content": text}}
        choice = {**content, "finish_reason": reason}
        return JSONResponse({"model": "echo-1", "choices": [choice]})

    async def _events(self, text: str, reason: str, *, is_text: bool) -> AsyncIterator[str]:
        pieces = re.findall(r"\S+\s*", text)
        yield _event({"text": ""} if is_text else {"delta": {"role": "assistant", "content": ""}})
        for count, piece in enumerate(pieces, 1):
            self.sent.append(piece)
            yield _event({"text": piece} if is_text else {"delta": {"content": piece}})
            if count == self.holds_after:
                await self.go_on.wait()
            if count == self.breaks_after:
                return
        yield _event({"text": ""} if is_text else {"delta": {}}, reason)
        yield 'data: {"model": "echo-1", "choices": []}\n\n'  # as with the usage, which has no choice
        yield "data: [DONE]\n\n"

    def answer(self, asked: list[str]) -> str:
        prompt = next(each for each in reversed(asked) if "Question: " in each)
        passages, question = prompt.rsplit("\n\nQuestion: ", 1)
        words = sorted(re.findall(r"[^\W\d_]{6,}", question.casefold()), key=len, reverse=True)
        for word in words:
            for number, text in re.findall(r"\[(\d+)\] (.*?)(?=\n\n\[|\Z)", passages, re.DOTALL):
                if word in text.casefold():
                    line = next(line for line in text.splitlines()[1:] if line.strip())
                    sentence = str(line.split(". ")[0].rstrip("."))
                    marks = {"uncited": "", "wrong": " [99]", "number": f" since 1999 [{number}]"}
                    return sentence + marks.get(self.mode, f" [{number}]") + "."
        return "NONE"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ModelServer]:
        paths = ("/v1/chat/completions", "/v1/completions")
        app = Starlette(routes=[Route(path, self.complete, methods=["POST"]) for path in paths])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=5))
        listening = socket.create_server(("127.0.0.1", 0))  # whoever connects before the server runs waits in its queue
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield self
        finally:
            self.go_on.set()
            server.should_exit = True
            await task


def _event(content: Mapping[str, object], reason: str | None = None) -> str:
    choice = {"index": 0, **content, "finish_reason": reason}
    return f"data: {json.dumps({'model': 'echo-1', 'choices': [choice]})}\n\n"
