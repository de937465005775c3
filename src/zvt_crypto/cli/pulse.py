"""What a person wants to know while it runs: counted at the feed, without a queue of its own."""

from __future__ import annotations

import time
from collections import Counter, deque

from zvt_crypto.domain.events import Event, StreamStatus
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Gap, Kline, Trade

LAGS = 4_000  # the newest lags, of which percentiles are taken
RATE_S = 5  # events a second are a mean over so long


class Pulse:
    """Counters since the start, lags, the newest closed klines. Bounded."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.closed: deque[Kline] = deque(maxlen=8)
        self.klines_closed = 0
        self.resyncs = 0
        self.book_changes: Counter[str] = Counter()  # applied, by instrument
        self.gaps_open: dict[tuple[str, str, str | None, int, int | None], Gap] = {}
        self.gaps_seen = 0
        self.streams: dict[str, StreamStatus] = {}
        self._synced: set[str] = set()
        self._since_ns = 1  # what happened before the newest connection is told late, or fetched: that is no lag
        self._lags_ms: deque[float] = deque(maxlen=LAGS)
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_S * 20)

    def take(self, event: Event) -> None:
        """Count one event."""
        self.events[type(event).__name__] += 1
        match event:
            case Trade() | BookDelta():
                if event.recv_ns and event.event_ns >= self._since_ns:
                    self._lags_ms.append((event.recv_ns - event.event_ns) / 1e6)
                if isinstance(event, BookDelta):
                    self.book_changes[event.instrument] += 1
            case Kline():
                if event.final and event.source == "venue":
                    self.klines_closed += 1
                    self.closed.append(event)
            case BookSnapshot():
                self._synced.add(event.instrument)
            case BookStale():
                self._take_stale(event)
            case Gap():
                self._take_gap(event)
            case StreamStatus():
                self.streams[f"{event.exchange} {event.stream}"] = event
                if event.state == "live":
                    self._since_ns = max(self._since_ns, event.event_ns)
            case _:
                pass

    def _take_stale(self, stale: BookStale) -> None:
        """Only a book that was whole can break: what comes before its first snapshot, or because we stop, is no break."""
        if stale.instrument in self._synced and stale.reason != "stopped":
            self._synced.discard(stale.instrument)
            self.resyncs += 1

    def _take_gap(self, gap: Gap) -> None:
        key = (gap.instrument, gap.channel, gap.interval, gap.start_ns, gap.first_id)
        if key not in self.gaps_open:
            self.gaps_seen += 1
        if gap.filled_from is not None:
            self.gaps_open.pop(key, None)
        elif len(self.gaps_open) < 1_000:
            self.gaps_open[key] = gap

    @property
    def total(self) -> int:
        """Events so far."""
        return self.events.total()

    def rate(self, now_s: float | None = None) -> float:
        """Events a second over the last seconds; call it a few times a second."""
        now = time.monotonic() if now_s is None else now_s
        self._marks.append((now, self.total))
        while len(self._marks) > 2 and now - self._marks[0][0] > RATE_S:
            self._marks.popleft()
        (then, before), (last, count) = self._marks[0], self._marks[-1]
        return (count - before) / (last - then) if last > then else 0.0

    def lag_ms(self, share: float) -> float | None:
        """The lag below which `share` of the newest events are: from the venue's time stamp to our socket."""
        if not self._lags_ms:
            return None
        ranked = sorted(self._lags_ms)
        return ranked[min(len(ranked) - 1, int(share * len(ranked)))]
