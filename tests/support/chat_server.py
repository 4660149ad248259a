"""The other party: a server that speaks the OpenAI chat API on a real socket, and misbehaves as it is told."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


class ModelServer:
    """Answers from the first numbered passage that shares the question's longest word; `mode` changes how."""

    def __init__(self) -> None:
        self.mode = "answer"
        self.requests: list[dict[str, object]] = []
        self.keys: list[str] = []
        self.url = ""

    async def complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        if self.mode.isdigit():
            return PlainTextResponse("no", status_code=int(self.mode))
        if self.mode == "garbage":
            return PlainTextResponse("<html>")
        if self.mode == "slow":
            await asyncio.sleep(0.5)  # what it takes to be slower than the asker waits
        said = self.say(body["messages"][-1]["content"])
        return JSONResponse({"model": "echo-1", "choices": [{"message": {"role": "assistant", "content": said}}]})

    def say(self, prompt: str) -> str:
        passages, question = prompt.rsplit("\n\nQuestion: ", 1)
        words = sorted(re.findall(r"[^\W\d_]{6,}", question.casefold()), key=len, reverse=True)
        for word in words:
            for number, text in re.findall(r"\[(\d+)\] (.*?)(?=\n\n\[|\Z)", passages, re.DOTALL):
                if word in text.casefold():
                    line = next(line for line in text.splitlines()[1:] if line.strip())
                    sentence = line.split(". ")[0].rstrip(".")
                    marks = {"uncited": "", "wrong": " [99]", "number": f" since 1999 [{number}]"}
                    return sentence + marks.get(self.mode, f" [{number}]") + "."
        return "NONE"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ModelServer]:
        app = Starlette(routes=[Route("/v1/chat/completions", self.complete, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
        listening = socket.create_server(("127.0.0.1", 0))  # whoever connects before the server runs waits in its queue
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield self
        finally:
            server.should_exit = True
            await task
