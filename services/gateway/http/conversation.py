"""What is read beside the question: the conversation that it may go on from, within a budget of tokens, and what system
and developer messages want of who writes the answer.

Whether anybody does is not decided here: services/answering/instructions.py. Next: openai.py."""

from __future__ import annotations

from tidegate.schemas import Turn
from tidegate.schemas.request import MAX_TURNS
from tidegate.services.gateway.http.openai import ChatMessage, ChatRequest
from tidegate.services.llm.text.token_counter import TokenCounter


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


def read_instructions(chat: ChatRequest) -> tuple[str, str | None]:
    """The texts of all system and developer messages, in their order, and the path of the first; empty for none."""
    found = [(at, text) for at, message in enumerate(chat.messages) if (text := _instruction(message))]
    return "\n\n".join(text for _, text in found), f"messages[{found[0][0]}].role" if found else None


def _instruction(message: ChatMessage) -> str:
    return text_of(message).strip() if message.role in ("system", "developer") else ""


def text_of(message: ChatMessage) -> str:
    """The text parts of a message, joined; empty where it has none."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(part.text for part in message.content or () if part.type == "text")
