"""Puts vault tokens in the place of personal data, in all that a request says. Next: turns.py, schema_words.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from tidegate.schemas import Asked, replace
from tidegate.services.stages.prefilter.schema_words import redact_schema
from tidegate.services.stages.prefilter.screened_text import PersonalData, redact
from tidegate.services.stages.prefilter.turns import FindInJoined, find_across, joined, outside_tokens

READ_BY_MODEL = frozenset(("NAME", "ADDRESS"))
"""The kinds that a model finds, by the words around: in a text it may not see what it saw in a list of options."""


class PersonalRedaction(NamedTuple):
    """What finds personal data, and what makes the tokens of a request's asker; see `PrefilterPorts`."""

    find: FindInJoined
    tokenise: Callable[[Asked, Sequence[PersonalData]], Awaitable[Sequence[str]]]

    async def text(self, asked: Asked, text: str, more: Sequence[PersonalData] = ()) -> str:
        """A text of the asker's with vault tokens in place of personal data; `more` was found in it beside what is
        found in it alone. It may hold tokens already."""
        if not text:
            return text
        return await self._replaced(asked, text, outside_tokens(text, joined(text, await self.find(text), more)))

    async def conversation(self, asked: Asked) -> tuple[Asked, str]:
        """The request with redacted instructions and, where it has a part of a number that goes on in another text of
        the asker's, a token for that part in each turn; and its redacted question."""
        instructions = asked.instructions.strip()
        own = [number for number, turn in enumerate(asked.history) if turn.role == "user"]
        texts = [instructions, *(asked.history[number].text for number in own), asked.text]
        across = await find_across(self.find, texts)
        turns = list(asked.history)
        for number, found in zip(own, across[1:-1], strict=True):
            turn = turns[number]
            turns[number] = replace(turn, text=await self._replaced(asked, turn.text, found))
        redacted = await self.text(asked, asked.text, across[-1])
        instructions = await self.text(asked, instructions, across[0])
        return replace(asked, instructions=instructions, history=tuple(turns)), redacted

    async def schema(self, asked: Asked, redacted: str) -> Asked:
        """The request with tokens for what its schema says of persons, where its redacted text does not say the same
        in clear: an option that is taken for a name by mistake must still be found in the text."""
        shown = redacted.casefold()

        async def hide(text: str, found: Sequence[PersonalData]) -> str:
            hidden = [each for each in found if each.kind not in READ_BY_MODEL or each.value.casefold() not in shown]
            return await self._replaced(asked, text, hidden)

        return replace(asked, schema=await redact_schema(asked.schema, self.find, hide))

    async def _replaced(self, asked: Asked, text: str, found: Sequence[PersonalData]) -> str:
        return redact(text, found, await self.tokenise(asked, found))[0] if found else text
