"""What a user of a domain's server may publish and subscribe, put together from what it does there. Pure.

Promises nothing beyond what is named: a user without `stores` can store nothing. Next: services/fleet/roles.py, which
says it for every role; conf.py, which writes it down.

A permission is on the subject of a request, and none is on its reply subject: a request for a stored message makes the
server publish that message wherever the request says. What comes of it carries the header `Nats-Stream`, and
worker.py takes no such message for a fact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tidegate.brokers.servers.conf import Conf, user
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.streams import DOWN, SYNC_CONSUMER
from tidegate.schemas import Escalated, Message, Verified, subjects
from tidegate.schemas.subjects import HUB

REQUESTERS = "_R_.>"
"""Where the server takes replies to requests that came from another account."""
ANY_INBOX = "_INBOX.>"
"""Inboxes of the operator's own tools."""


@dataclass(frozen=True)
class UserRole:
    """What one user of a domain may do, beside listening to its own inbox."""

    name: str
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def __or__(self, other: UserRole) -> UserRole:
        """What either may do, under this one's name."""
        return UserRole(self.name, _joined(self.publish, other.publish), _joined(self.subscribe, other.subscribe))

    def user(self, domain: str, public: str) -> Conf:
        """The user with this role whose nkey is `public`."""
        inbox = f"{subjects.inbox_of(domain)}.{public}.>"
        return user(public, {"publish": {"allow": [*self.publish]}, "subscribe": {"allow": [*self.subscribe, inbox]}})


LISTS_STREAMS = "$JS.API.STREAM.LIST"
"""To publish: what it takes to see how full streams are, and how they are set."""


def written_as(kind: type[Message], domain: str) -> str:
    """To publish: the subjects under which `domain` stores facts of this type."""
    if kind is Escalated:
        return subjects.escalations_of("*" if domain == HUB else domain)
    if kind is Verified and domain == HUB:
        return subjects.verdicts_of("*")
    return subjects.sources_of(kind, domain)[0].filter


def consumes(stream: str, consumer: str) -> tuple[str, ...]:
    """To publish: what it takes to be given the messages of a declared consumer, and to settle them."""
    return (
        f"$JS.API.CONSUMER.INFO.{stream}.{consumer}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
        f"$JS.ACK.{stream}.{consumer}.>",
    )


def looks_up(*streams: str) -> tuple[str, ...]:
    """To publish: what it takes to read stored messages."""
    return tuple(
        subject for stream in streams for subject in (f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>")
    )


def erases(stream: str) -> str:
    """To publish: what it takes to have single messages overwritten."""
    return f"$JS.API.STREAM.MSG.DELETE.{stream}"


def inspects(*streams: str) -> tuple[str, ...]:
    """To publish: what it takes to see how streams and their consumers are."""
    verbs = ("STREAM.INFO.{}", "CONSUMER.LIST.{}", "CONSUMER.INFO.{}.*")
    return ("$JS.API.STREAM.NAMES", *(f"$JS.API.{verb.format(stream)}" for stream in streams for verb in verbs))


def replies_to(domains: Iterable[str]) -> tuple[str, ...]:
    """To publish: what it takes to answer the clients of these domains, and the operator's tools."""
    return (ANY_INBOX, *(f"{subjects.inbox_of(domain)}.>" for domain in domains))


def keeps_mirrors() -> tuple[str, ...]:
    """To publish: what it takes to make the mirrors of a site anew, and to purge from them what is granted no more."""
    granted = [stream for stream in DOWN if stream != subjects.VERDICTS]
    verbs = ("CREATE", "DELETE", "PURGE")
    return tuple(f"$JS.API.STREAM.{verb}.{stream}" for stream in granted for verb in verbs)


def carries_to_sites() -> tuple[str, ...]:
    """To publish, at the hub: what it takes to say what is carried to which site, from where on, and how fast."""
    granted = [stream for stream in DOWN if stream != subjects.VERDICTS]
    verbs = ("CREATE", "RESET", "PAUSE")
    return tuple(f"$JS.API.CONSUMER.{verb}.{stream}.*" for stream in granted for verb in verbs)


def makes_sync_consumer(*streams: str) -> tuple[str, ...]:
    """To publish: what it takes to declare the consumers of the sync worker where a stream was made anew."""
    return tuple(f"$JS.API.CONSUMER.CREATE.{stream}.{SYNC_CONSUMER}{end}" for stream in streams for end in ("", ".>"))


def stage_role(stage: Stage, domain: str) -> UserRole:
    """What every worker of this stage does: take what it accepts, store what it emits, and bury what it cannot do."""
    sources = stage.sources(domain)
    streams = dict.fromkeys(source.stream for source in sources)
    publish = [subject for stream in streams for subject in consumes(stream, stage.name)]
    publish += [written_as(kind, domain) for kind in stage.emits]
    return UserRole(stage.name, (*publish, subjects.dead_letter(stage.name, "*")))


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))
