"""What a venue's parser finds in a frame beside market events: things unknown, answers to us, announcements. All are data."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zvt_crypto.domain.errors import shown
from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.ports import Observer

# Different oddities that one connection writes to the log; all are counted.
DRIFT_NOTES_MOST = 50


class Drift(msgspec.Struct, frozen=True):
    """Something well formed that we do not know: a new event, a symbol not listed when we asked. Counted, not an error."""

    what: str
    value: str


class Reply(msgspec.Struct, frozen=True):
    """An answer to a control message of ours. `error` is None where it was accepted."""

    id: int | str | None
    error: str | None


class Shutdown(msgspec.Struct, frozen=True):
    """The venue says that it will end this connection soon."""


class Broken(msgspec.Struct, frozen=True):
    """This connection lost something that it cannot get back: every book on it is doubtful, a new connection is needed."""

    reason: str


class Ask(msgspec.Struct, frozen=True):
    """Something that only messages of ours bring, such as a subscription made anew: what to send, in this order."""

    payloads: tuple[bytes, ...]


Control = Drift | Reply | Shutdown | Broken | Ask
CONTROLS = (Drift, Reply, Shutdown, Broken, Ask)
Parsed = MarketEvent | Control


class DriftLog:
    """Counts all drift of one connection, and notes each oddity once."""

    def __init__(self, exchange: str, stream: str, observer: Observer) -> None:
        self._exchange, self._stream, self._observer = exchange, stream, observer
        self._noted: set[str] = set()

    def take(self, drift: Drift) -> None:
        """One more."""
        self._observer.count("venue_drift", exchange=self._exchange, what=drift.what)
        noted = f"{drift.what} {drift.value}"
        if noted not in self._noted and len(self._noted) < DRIFT_NOTES_MOST:
            self._noted.add(noted)
            told = {"exchange": self._exchange, "stream": self._stream, "what": drift.what, "value": shown(drift.value)}
            self._observer.note("warning", "venue_drift", **told)


def note_drift(observer: Observer, exchange: str, drift: Sequence[Drift]) -> None:
    """The drift of one REST answer: counted, and one line for all of it."""
    for one in drift:
        observer.count("venue_drift", exchange=exchange, what=one.what)
    if drift:
        examples = ", ".join(f"{one.what} {one.value}" for one in drift[:5])
        observer.note("warning", "venue_drift", exchange=exchange, count=len(drift), examples=examples)
