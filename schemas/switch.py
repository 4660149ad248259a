"""The switch to evidence-only: one for each scope, signed by the hub as artefacts are, in force until it is put off.

While one is on, nothing but passages of documents, word for word, is published within its scope. Next: artefact.py, how
it travels; services/policies/evidence_only.py, what is left of an answer."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import END, Millis, Name

SwitchSite = Annotated[str, msgspec.Meta(pattern=rf"^([a-z0-9][a-z0-9_-]{{0,31}})?{END}")]
SwitchClass = Annotated[str, msgspec.Meta(pattern=rf"^([A-Za-z0-9][A-Za-z0-9_.-]{{0,63}})?{END}")]
SwitchReason = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class Switch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Evidence-only, on or off, for a tenant; for one `site` or (empty) all, for one class of questions or all.

    `why` says it to whoever reads a receipt. `at_ms` is when that was decided, in Unix time.
    """

    tenant: Name
    site: SwitchSite = ""
    class_name: SwitchClass = ""
    is_on: bool
    why: SwitchReason
    at_ms: Millis = 0

    @property
    def name(self) -> str:
        """The name of its artefact: the same for the same scope, so that its epochs follow each other."""
        return f"evidence-only-{sha256(f'{self.site}/{self.class_name}'.encode()).hexdigest()[:12]}"

    @property
    def scope(self) -> str:
        """The scope in words."""
        site = f" at {self.site}" if self.site else ""
        return f"{self.tenant}{site}" + (f" for {self.class_name}" if self.class_name else "")

    def covers(self, tenant: str, site: str, class_name: str) -> bool:
        """Whether an answer of this tenant, at this site, to a question of this class, lies in its scope."""
        return self.tenant == tenant and self.site in ("", site) and self.class_name in ("", class_name)


class SwitchStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A switch as a domain has it. `raised_by`: the hub's key has signed it, or an incident at the site has raised it,
    after the hub's `epoch` of the same scope."""

    switch: Switch
    epoch: Annotated[int, msgspec.Meta(ge=0)] = 0
    raised_by: Literal["hub", "incident"] = "hub"
