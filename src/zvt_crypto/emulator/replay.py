"""A recording played again: frames as received, at the recorded pace, N times it, or as fast as they are read."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S
from zvt_crypto.emulator.capture import Capture, Channel
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import (
    Agg,
    Bar,
    BookImage,
    Day,
    Emission,
    FundingRow,
    Listing,
    Mark,
    Market,
    Recorded,
    Trade,
)
from zvt_crypto.emulator.reading import SymbolState
from zvt_crypto.emulator.readings import READINGS
from zvt_crypto.emulator.tape import is_near

_SAVE_NS = 200 * NS_PER_MS
_BATCH = 4_096  # frames a poll passes on at most
# What reading damaged numbers, times and shapes raises.
_UNREADABLE = (ValueError, ArithmeticError, LookupError, msgspec.MsgspecError)


class ReplayWorld:
    """A World made of a capture.

    speed: times the recorded pace; None: as fast as the slowest reader reads, and standing still while nobody listens.
    times: runs; between two of them every connection is cut, since ids begin anew.
    gather_s: a run begins when every recorded stream has a subscriber, or this long after the first one came, so that a
    client with several sockets misses nothing.
    state_path: where the position is kept (atomically, at most every 200 ms); a new ReplayWorld on it goes on from there.
    """

    mode: Literal["market", "replay"] = "replay"

    def __init__(
        self, capture: Capture, *, speed: float | None = 1.0, times: int = 1, gather_s: float = 1.0, state_path: Path | None = None
    ) -> None:
        if speed is not None and not 0 < speed <= 1e6:
            raise BadInput(f"speed {speed} is out of range: above 0 to 1000000, or none for as fast as it is read")
        if not 1 <= times <= 1_000_000:
            raise BadInput(f"times {times} is out of range: 1 to 1000000")
        self.capture = capture
        self.position = 0
        self.run = 1
        self._speed = speed
        self._times = times
        self._gather_ns = int(gather_s * NS_PER_S)
        self._state_path = state_path
        self._saved = (-1, -1)
        self._saved_ns = 0
        self._watched: set[tuple[Market, str]] = set()
        self._streams = {(frame.market, frame.stream) for frame in capture.frames}
        self._first_watch_ns: int | None = None
        self._origin: tuple[int, int] | None = None  # (now_ns, recv_ns) at the run's begin
        self._reading = READINGS[capture.exchange](capture)
        self._forget()
        self._load()
        self._settle()

    def _forget(self) -> None:
        """What is known before a run's first frame."""
        self._applied = 0
        self._answered = 0
        self._left_out = 0
        self._first_left_out = ""
        reading = self._reading
        told = ((frame, reading.event_ms(frame)) for frame in self.capture.frames[:1000])
        self._event_ms = next((ms for frame, ms in told if ms and is_near(ms * NS_PER_MS, frame.recv_ns)), 0)
        self._symbols = {(f.market, f.symbol): reading.state(f.market, f.symbol) for f in _one_each(self.capture.frames)}

    # ── Time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def done(self) -> bool:
        """Whether the last run is over."""
        return self.run >= self._times and self.position >= len(self.capture.frames)

    def poll(self, now_ns: int, room: int) -> list[Emission]:
        """World.poll."""
        out: list[Emission] = []
        if not self.done and self._runs(now_ns):
            out = self._play(self._reach(now_ns, room))
            if self.position >= len(self.capture.frames) and self.run < self._times:
                self.run += 1
                self.position = 0
                self._origin = None
                self._first_watch_ns = None
                self._forget()
                out.append(Emission("spot", "", "!end", Recorded(b"", None)))
        if self._speed is not None:
            self._settle()
        if now_ns - self._saved_ns >= _SAVE_NS:
            self._saved_ns = now_ns
            self.save()
        return out

    def _runs(self, now_ns: int) -> bool:
        """Whether the run has begun; begins it when its readers are there."""
        if self._origin is not None:
            return True
        if self._first_watch_ns is None or not self._watched:
            return False
        if now_ns < self._first_watch_ns + self._gather_ns and not self._streams <= self._watched:
            return False
        self._origin = (now_ns, self.capture.frames[self.position].recv_ns)
        return True

    def _reach(self, now_ns: int, room: int) -> int:
        """The position that may be reached by now."""
        frames = self.capture.frames
        if self._speed is None:
            return min(len(frames), self.position + room) if self._watched else self.position
        assert self._origin is not None, "asked while running only"
        limit_ns = self._origin[1] + int((now_ns - self._origin[0]) * self._speed)
        reach, most = self.position, min(len(frames), self.position + _BATCH)
        while reach < most and frames[reach].recv_ns <= limit_ns:
            reach += 1
        return reach

    def _play(self, reach: int) -> list[Emission]:
        watched = self._watched
        out = [
            Emission(frame.market, frame.symbol, frame.stream, _recorded(frame))
            for frame in self.capture.frames[self.position : reach]
            if (frame.market, frame.stream) in watched
        ]
        self.position = reach
        return out

    def next_ns(self, now_ns: int) -> int | None:
        """World.next_ns: as fast as it is read, the readers set the pace."""
        if self.done or (not self._watched and self._origin is None):
            return None
        if self._origin is None:
            return None if self._first_watch_ns is None else max(now_ns, self._first_watch_ns + self._gather_ns)
        if self._speed is None or self.position >= len(self.capture.frames):
            return None
        ahead_ns = self.capture.frames[self.position].recv_ns - self._origin[1]
        return self._origin[0] + int(ahead_ns / self._speed) + 1

    def server_ns(self, now_ns: int) -> int:
        """The exchange's own time at the position: the newest event time so far."""
        self._settle()
        return self._event_ms * NS_PER_MS or self.capture.frames[max(0, self.position - 1)].recv_ns

    # ── Streams ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def channels(self) -> tuple[Channel, ...]:
        """What the capture holds: clients subscribe to these only."""
        return self.capture.channels()

    def canonical(self, market: Market, stream: str) -> str | None:
        """World.canonical: a speed asked for is served by whatever speed was recorded."""
        name = "@".join(stream.split("@")[:2])
        return name if (market, name) in self._streams else None

    def watch(self, market: Market, stream: str, now_ns: int) -> None:
        """World.watch."""
        self._watched.add((market, stream))
        if self._first_watch_ns is None:
            self._first_watch_ns = now_ns

    def unwatch(self, market: Market, stream: str) -> None:
        """World.unwatch."""
        self._watched.discard((market, stream))

    # ── What follows from the frames so far ───────────────────────────────────────────────────────────────────────────

    def _settle(self) -> None:
        """Bring the derived state up to the position; done when somebody asks, not on the way of the frames."""
        frames, answers = self.capture.frames, self.capture.answers
        while self._applied < self.position:
            self._arrive(answers)
            self._take(frames[self._applied])
            self._applied += 1
        self._arrive(answers)

    def _take(self, frame: Frame) -> None:
        """A frame that cannot be read is played as it is; what is derived goes on without it."""
        state = self._symbols[frame.market, frame.symbol]
        state.tape.begin(frame.recv_ns)
        try:
            state.apply(frame)
            why = state.tape.left_out
        except _UNREADABLE as error:
            why = str(error) or type(error).__name__
        if why:
            self._leave_out(f"{frame.market} {frame.stream} of {frame.recv_ns} ns", why)
        self._event_ms = max(self._event_ms, state.tape.event_ms)

    def _leave_out(self, what: str, why: str) -> None:
        self._left_out += 1
        self._first_left_out = self._first_left_out or f"{what}: {why[:160]}"

    def _arrive(self, answers: list[RestAnswer]) -> None:
        """Recorded snapshots whose instant has come."""
        while self.position and self._answered < len(answers) and answers[self._answered].at <= self._applied:
            answer = answers[self._answered]
            self._answered += 1
            if (answer.market, answer.symbol) in self._symbols:
                try:
                    self._symbols[answer.market, answer.symbol].arrive(answer)
                except _UNREADABLE as error:
                    self._leave_out(f"answer {answer.market} {answer.symbol} {answer.path}", str(error))

    def _of(self, listing: Listing) -> SymbolState:
        self._settle()
        return self._symbols[listing.market, listing.symbol]

    def listings(self, market: Market) -> dict[str, Listing]:
        """World.listings: the symbols of the frames."""
        return self._reading.listings.get(market, {})

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded."""
        return self._reading.recorded(market, path)

    def book(self, listing: Listing, limit: int) -> BookImage:
        """World.book: at the position, as far as the recording tells."""
        return self._of(listing).book(self._applied, limit)

    def trades(self, listing: Listing, from_id: int | None, limit: int) -> list[Trade]:
        """World.trades."""
        rows = self._of(listing).tape.trades
        return rows[-limit:] if from_id is None else [row for row in rows if row.id >= from_id][:limit]

    def aggs(self, listing: Listing, from_id: int | None, start_ns: int | None, end_ns: int | None, limit: int) -> list[Agg]:
        """World.aggs."""
        tape = self._of(listing).tape
        is_recorded = (listing.market, f"{listing.symbol.lower()}@aggTrade") in self._streams
        rows = tape.aggs if is_recorded else tape.folded()
        if from_id is not None:
            return [row for row in rows if row.id >= from_id][:limit]
        within = [row for row in rows if (start_ns or 0) <= row.time_ns and (end_ns is None or row.time_ns <= end_ns)]
        return within[:limit] if start_ns is not None else within[-limit:]

    def bars(self, listing: Listing, interval: str, start_ns: int | None, end_ns: int | None, limit: int) -> list[Bar]:
        """World.bars."""
        return self._of(listing).tape.pages.page(interval, start_ns, end_ns, limit)

    def day(self, listing: Listing) -> Day | None:
        """World.day."""
        return self._of(listing).day()

    def mark(self, listing: Listing) -> Mark | None:
        """World.mark: only what was recorded."""
        return self._of(listing).mark

    def resting(self, listing: Listing) -> None:
        """World.resting: what was recorded trades."""
        return

    def mark_bars(
        self, listing: Listing, kind: Literal["mark", "index"], interval: str, start_ns: int | None, end_ns: int | None, limit: int
    ) -> list[Bar]:
        """No capture holds them."""
        return []

    def funding(self, listing: Listing, start_ns: int | None, end_ns: int | None, limit: int) -> list[FundingRow]:
        """No capture holds it."""
        return []

    # ── Life ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def status(self) -> dict[str, object]:
        """World.status."""
        self._settle()
        total = len(self.capture.frames)
        return {
            "mode": "replay",
            "frames": (self.run - 1) * total + self.position,
            "frames_total": total * self._times,
            "done": self.done,
            "started": self._origin is not None,
            "run": self.run,
            "partial_books": self._reading.partial_books(),
            "damage": self.capture.damage + self._damage(),
        }

    def _damage(self) -> list[str]:
        return [f"left out of what is derived: {self._left_out}, the first is {self._first_left_out}"] if self._left_out else []

    def save(self) -> None:
        """Write the position down, atomically, if it has moved."""
        if self._state_path is None or self._saved == (self.run, self.position):
            return
        self._saved = (self.run, self.position)
        fresh = self._state_path.with_suffix(".new")
        fresh.write_text(json.dumps({"digest": self.capture.digest, "run": self.run, "position": self.position}))
        fresh.replace(self._state_path)

    def _load(self) -> None:
        """Go on where another process stopped; another capture's position, or a damaged file, counts for nothing."""
        if self._state_path is None:
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(self._state_path.read_text())
            run, position = int(state["run"]), int(state["position"])
            if state["digest"] == self.capture.digest and 1 <= run <= self._times and 0 <= position <= len(self.capture.frames):
                self.run, self.position = run, position


def _recorded(frame: Frame) -> Recorded:
    return Recorded(b"", frame.payload) if frame.enveloped else Recorded(frame.payload, None)


def _one_each(frames: list[Frame]) -> list[Frame]:
    return list({(frame.market, frame.symbol): frame for frame in frames}.values())
