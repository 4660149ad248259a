"""The incident rule: when so many answers are blocked that a site goes to evidence-only by itself.

Pure but for the counts that it keeps; times are seconds that the caller passes in. Next: services/stages/settings.py,
`PublisherSettings`; publisher/__init__.py, who raises the switch."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tidegate.schemas import Decision
from tidegate.schemas.switch import Switch
from tidegate.services.stages.settings import PublisherSettings

MOST_COUNTED = 10_000
"""Answers of one class that are remembered: the oldest make room."""
VIOLATION = "policy_block"


class IncidentRule:
    """Counts the answers of each tenant and class that the policies judged, and how many of them they blocked."""

    def __init__(self, settings: PublisherSettings, site: str) -> None:
        self._settings = settings
        self._site = site
        self._judged: dict[tuple[str, str], deque[tuple[float, bool]]] = {}

    def observe(
        self, tenant: str, class_name: str, reason: str, decisions: Iterable[Decision], now_s: float
    ) -> Switch | None:
        """The switch to raise after one more answer that was judged, `reason` being the code of its refusal.

        A block by one of the rules of `p1_rules` concerns the whole tenant at this site; a share of blocks that is too
        high, its class. The counts of what a switch is raised for begin anew.
        """
        settings, is_violation = self._settings, reason == VIOLATION
        p1 = next((each.rule for each in decisions if each.verb == "block" and each.rule in settings.p1_rules), None)
        if is_violation and p1 is not None:
            return self._raise(tenant, "", f"an answer was blocked by {p1}, which is a P1 incident", now_s)
        if not settings.incident_share:
            return None
        counted = self._judged.setdefault((tenant, class_name), deque(maxlen=MOST_COUNTED))
        counted.append((now_s, is_violation))
        while counted[0][0] <= now_s - settings.incident_window_s:
            counted.popleft()
        blocked = sum(each for _, each in counted)
        if blocked < settings.incident_from or blocked < settings.incident_share * len(counted):
            return None
        window, judged = settings.incident_window_s, len(counted)
        counted.clear()
        return self._raise(tenant, class_name, f"{blocked} of {judged} answers were blocked within {window:g} s", now_s)

    def _raise(self, tenant: str, class_name: str, why: str, now_s: float) -> Switch:
        at_ms = int(now_s * 1000)
        return Switch(tenant=tenant, site=self._site, class_name=class_name, is_on=True, why=why[:300], at_ms=at_ms)
