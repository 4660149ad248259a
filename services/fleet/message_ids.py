"""The key of a domain by which the ids of its messages are made: one of those that are derived of the domain's own key.

Next: brokers/message_ids.py."""

from __future__ import annotations

from tidegate.brokers.message_ids import MessageIds
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.privacy.site_key import derive_key, load_site_key
from tidegate.services.settings import Settings


def load_message_ids(settings: Settings) -> MessageIds:
    """The ids of a domain, the same in all of its processes. Its key is made here where there is none yet.

    Raises `SiteKeyError`, `OSError`.
    """
    return MessageIds(derive_key(load_site_key(StatePaths(settings).key), "message-id"))
