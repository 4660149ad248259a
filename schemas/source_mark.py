"""From which process of a site an escalation comes, so that two sites that take themselves for one are told apart.

Next: services/uplink/source_marks.py, who gives them; services/uplink/source_watch.py, who looks at them."""

from __future__ import annotations

import msgspec

from tidegate.schemas.artefact import Epoch
from tidegate.schemas.clocks import Counter
from tidegate.schemas.sync import BootId


class SourceMark(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a site's `incarnation` that was given the site's `number`: no other process is ever given it, as the
    site keeps count on its disk. `boot_id` tells processes apart."""

    incarnation: Epoch
    number: Counter
    boot_id: BootId
