"""Groups of commands whose help is never cut and which suggest what a mistyped command may have meant.

Next: options.py.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import click

from tidegate.schemas import TidegateError


def suggest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?`, or all that there is when nothing is close."""
    choices = list(known)
    close = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(choices)}"


class CommandGroup(click.Group):
    """A group of commands."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Raises `click.UsageError` when a command is missing; `tidegate` alone is `tidegate --help`."""
        if not args and ctx.parent is not None:
            raise _UnknownChoiceError(f"{ctx.command_path} needs a command", suggest("", self.list_commands(ctx)), ctx)
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Raises `click.UsageError` with a suggestion."""
        if args and not args[0].startswith("-"):
            check_choice(f"{ctx.command_path} has no command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def describe_commands(self, ctx: click.Context) -> list[tuple[str, str]]:
        """Every command and the first paragraph of its help, whole."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        return [(name, " ".join((each.help or "").split("\n\n")[0].split())) for name, each in commands if each]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.describe_commands(ctx))


class _UnknownChoiceError(click.UsageError):
    """There is no such command or stage; `hint` says what may have been meant."""

    def __init__(self, reason: str, hint: str, ctx: click.Context | None = None) -> None:
        super().__init__(reason, ctx)
        self.hint = hint


def called_wrongly(error: TidegateError) -> click.UsageError:
    """The same as a usage error, for what a command was given."""
    return _UnknownChoiceError(error.reason, error.hint)


def check_choice(problem: str, name: str, known: Sequence[str]) -> None:
    """Raises a usage error with a suggestion when `name` is none of `known`; `problem` begins its text."""
    if name not in known:
        raise _UnknownChoiceError(f"{problem} {name!r}", suggest(name, known))
