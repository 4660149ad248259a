"""The users of a site's server who are no part of it: an account for each access key, with the site's entries alone.

An account of its own, and not only a user: nats-server does not check where a client has its replies sent, and carries
them to the client's own account. There is no stream there, no API and nobody else, so that no reply subject is worth
anything. Promises that tenant and key come of the account: the client cannot name them. Next: fleet.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from tidegate.brokers.servers.conf import ACCOUNT, Conf, render, user
from tidegate.schemas.entries import ENTRIES, entry

INBOX = "_INBOX"
"""The prefix of inboxes that every NATS client has where nothing else is said."""
MOST_CONNECTIONS = 256
"""Of one key at once, as of one address over HTTP: what a key takes up is not there for other tenants and for the
site's own workers, which the server would turn away, too."""
MOST_SUBSCRIPTIONS = 1024
"""Of one connection; a client has one for all of its replies, or one for each."""
LONGEST_ANSWER = "11m"
"""A little more than the longest budget of a request, after which the server forgets who waits for the answer."""


class Application(NamedTuple):
    """Who may ask: an access key's id, its tenant, and the public half of its nkey."""

    key_id: str
    tenant: str
    public: str


def exports() -> list[Conf]:
    """What the account of a site offers: each entry, with one reply to `ask` and any number to the others."""
    ask, *streams = (entry(name) for name in ENTRIES)
    streamed = [{"service": each, "response_type": "stream", "response_threshold": LONGEST_ANSWER} for each in streams]
    return [{"service": ask, "response_threshold": LONGEST_ANSWER}, *streamed]


def account(application: Application, most_connections: int = MOST_CONNECTIONS) -> Conf:
    """The account of one application, in which the entries have their short names."""
    permissions = {"publish": {"allow": [*ENTRIES]}, "subscribe": {"allow": [f"{INBOX}.>"]}}
    imports = [
        {
            "service": {"account": ACCOUNT, "subject": entry(name, application.tenant, application.key_id)},
            "to": name,
        }
        for name in ENTRIES
    ]
    limits = {"max_connections": most_connections, "max_subscriptions": MOST_SUBSCRIPTIONS}
    return {"users": [user(application.public, permissions)], "imports": imports, "limits": limits}


def render_accounts(applications: Iterable[Application]) -> str:
    """The text of the file that a site's configuration includes among its accounts."""
    return render({f"TENANT_{each.tenant}_{each.key_id}": account(each) for each in applications})
