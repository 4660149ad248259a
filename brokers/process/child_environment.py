"""What the environment of a child process holds, where the child needs none of this process's secrets.

Passphrases of keys, API keys and passwords come to a process by its environment, and would go on to every child: to one
that parses a file that somebody has sent, or that listens to others. Next: servers/nats_server.py, which starts one.
"""

from __future__ import annotations

from collections.abc import Mapping

_PLACES = ("HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "TEMP", "TMP", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV")
PASSED_ON = frozenset((*_PLACES, "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT"))
PASSED_ON_PREFIXES = ("DYLD_", "LC_", "LD_", "MALLOC_", "PYTHON")
"""What tells a program where it is, and its language's runtime how to work."""


def plain_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Of an environment what a program needs to find its files and libraries, and nothing else."""
    return {
        name: value for name, value in environment.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }


def without_settings(environment: Mapping[str, str], prefix: str = "TIDEGATE_") -> dict[str, str]:
    """An environment without what is Tidegate's own, passphrases among it: for a program whose file, which somebody
    else wrote, may refer to any variable."""
    return {name: value for name, value in environment.items() if not name.startswith(prefix)}
