"""What is read of the turns before the question: the conversation that it may go on from, within a budget of tokens.

Instructions are refused: nothing here writes in words of its own, so that none could be kept. Next: openai.py."""

from __future__ import annotations

from tidegate.schemas import Turn
from tidegate.schemas.request import MAX_TURNS
from tidegate.services.gateway.http.openai import ChatMessage, ChatRequest
from tidegate.services.gateway.http.parameters import unsupported
from tidegate.services.gateway.http.token_counter import TokenCounter


def read_history(chat: ChatRequest, counter: TokenCounter, max_tokens: int) -> tuple[Turn, ...]:
    """What user and assistant said before the question, oldest first: the newest turns that have room together.

    A turn is there as a whole or not at all, and no turn before one that is not: a half would be misread.
    """
    questions = [at for at, message in enumerate(chat.messages) if message.role == "user"]
    turns: list[Turn] = []
    left = max_tokens
    for message in reversed(chat.messages[: questions[-1]] if questions else ()):
        text = text_of(message)
        if message.role not in ("user", "assistant") or not text.strip():
            continue
        left -= counter.count(text)
        if left < 0 or len(turns) == MAX_TURNS:
            break
        turns.append(Turn("user" if message.role == "user" else "assistant", text))
    return tuple(reversed(turns))


def check_instructions(chat: ChatRequest, *, are_ignored: bool) -> None:
    """Raises `RequestRefusedError` for a system or developer message that says anything, unless they are ignored."""
    for at, message in enumerate(chat.messages):
        if message.role in ("system", "developer") and text_of(message).strip() and not are_ignored:
            hint = (
                "answers quote the site's documents and follow no instructions: leave the message out, or let the site "
                "set `gateway.ignore_system_prompts`"
            )
            raise unsupported(f"a {message.role} message", hint, f"messages[{at}].role")


def text_of(message: ChatMessage) -> str:
    """The text parts of a message, joined; empty where it has none."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content or () if part.type == "text")
