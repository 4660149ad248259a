"""A client of the one event grammar, as small as one can be: what it shows, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from tidegate.schemas import Published
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent, Event, HeartbeatEvent


@dataclass
class Client:
    """What a person would see, and everything that a test wants to know of how it came about."""

    text: str = ""
    id: str = ""
    epoch: int = 0
    committed: list[str] = field(default_factory=list)
    retractions: int = 0
    beats: int = 0
    states: set[str] = field(default_factory=set)
    published: Published | None = None
    failed: ErrorEvent | None = None
    withdrawn: str = ""

    @property
    def is_done(self) -> bool:
        return self.published is not None or self.failed is not None

    def take(self, event: Event) -> None:
        """As the grammar says; an event after the last one is a fault."""
        assert not self.is_done
        match event:
            case DeltaEvent():
                self._show(event)
            case EndEvent(published=published):
                self.published = published
            case ErrorEvent():
                self.failed = event
            case HeartbeatEvent():
                self.beats += 1
        self.id = getattr(event, "id", self.id)

    def resumed(self) -> Client:
        """The same client after a break: it keeps what it shows."""
        return Client(
            self.text,
            self.id,
            self.epoch,
            self.committed,
            self.retractions,
            self.beats,
            self.states,
            withdrawn=self.withdrawn,
        )

    def _show(self, event: DeltaEvent) -> None:
        assert event.offset <= len(self.text), "a gap"
        assert event.epoch >= self.epoch
        self.epoch = event.epoch
        self.states.add(event.state)
        if event.state == "withdrawn":
            self.text, self.withdrawn = self.text[: event.offset] + event.text, event.reason
            self.committed = [self.text]
            return
        rest = self.text[event.offset + len(event.text) :]
        self.text = self.text[: event.offset] + event.text
        if event.state == "retracted":
            assert rest or event.text == "", "nothing to take back"
            self.retractions += 1
        elif event.epoch == 0:
            self.text += rest
        if event.state == "committed":
            assert event.offset == len("".join(self.committed)), "a hole or a double in what is committed"
            self.committed.append(event.text)
