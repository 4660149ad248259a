"""A server of the OpenAI API that answers at once: the model behind both sides of the comparison with LiteLLM.

It is a process of its own, so that it takes no time of the clients' loop. Of the numbered passages that a hub asks with
it quotes one that has the question's longest word; whoever sends none hears one sentence. It prints its address and
ends with its standard input. Next: litellm_sides.py.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import uvicorn

MODEL = "instant"
PLAIN = "The counter is open from nine to five on working days, and until six on Thursdays."
_PASSAGE = re.compile(r"^\[(\d+)\] [^\n]*\n(.+?)(?=\n\n\[|\n\nQuestion: |\Z)", re.DOTALL | re.MULTILINE)
_HEADERS = {"json": b"application/json", "stream": b"text/event-stream"}


class InstantRequest(msgspec.Struct, frozen=True):
    """What of a chat request is read."""

    messages: list[dict[str, Any]]
    stream: bool = False


def reply_to(prompt: str) -> str:
    """What is said to the last message of a chat: a sentence of its passages with their number, or the plain one."""
    passages, _, question = prompt.rpartition("\n\nQuestion: ")
    found = _PASSAGE.findall(passages)
    if not found:
        return PLAIN
    words = sorted(re.findall(r"[^\W\d_]{5,}", question.casefold()), key=len, reverse=True)
    fitting = ((number, text) for word in words for number, text in found if word in text.casefold())
    number, text = next(fitting, found[0])
    sentence = re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0].rstrip(".")
    return f"{sentence} [{number}]."


def stream_events(text: str) -> Iterator[bytes]:
    """The events of a streamed answer, a word each, as servers of models send a token each."""
    yield _event({"role": "assistant", "content": ""})
    for piece in re.findall(r"\S+\s*", text):
        yield _event({"content": piece})
    yield _event({}, "stop")
    yield b"data: [DONE]\n\n"


def whole_reply(text: str) -> bytes:
    """The body of an answer that is not streamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 20, "total_tokens": 40}
    return _encode({"object": "chat.completion", "choices": [choice], "usage": usage})


async def serve_chat(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application: whatever is posted is a chat, and nothing else is here."""
    if scope["method"] != "POST":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    body, is_more = b"", True
    while is_more:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    request = msgspec.json.decode(body, type=InstantRequest)
    text = reply_to(str(request.messages[-1]["content"]))
    kind = _HEADERS["stream" if request.stream else "json"]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for piece in stream_events(text) if request.stream else (whole_reply(text),):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _event(delta: dict[str, str], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + _encode({"object": "chat.completion.chunk", "choices": [choice]}) + b"\n\n"


def _encode(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"id": "chatcmpl-instant", "created": 1, "model": MODEL, **fields})


def _end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Serve until whoever started it is gone."""
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listening.getsockname()[1]}/v1\n")
    sys.stdout.flush()
    threading.Thread(target=_end_with_input, daemon=True).start()
    config = uvicorn.Config(serve_chat, log_level="error", lifespan="off", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
