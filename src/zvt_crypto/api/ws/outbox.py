"""What waits for one client. Bounded: a client that does not read costs itself alone."""

from __future__ import annotations

from typing import Protocol

from zvt_crypto.api.ws.protocol import Topic

MOST_TRADES = 1_000  # that wait; then the client is closed
MOST_WAITING = 1_000  # other frames that wait: acknowledgements, or rows of different klines


class Snapshots(Protocol):
    """A stream that can say its newest state at any time, so that what a client missed of it need not be kept."""

    def newest_frame(self) -> bytes | None:
        """The state under the number of the newest message."""
        ...


class Outbox:
    """Frames for one client, in order.

    While the client reads, frames pass through `ready`. While it does not (`slow`, told by the gateway), klines wait as the newest row
    of each, books as a promise of a snapshot, trades one by one up to a bound. `overflow` says why the client must be closed.
    """

    __slots__ = ("_books", "_frames", "_klines", "_trades", "overflow", "ready", "slow", "waiting_trades")

    def __init__(self) -> None:
        self.ready: list[bytes] = []
        self.slow = False
        self.overflow: str | None = None
        self.waiting_trades = 0
        self._frames: list[bytes] = []
        self._trades: list[tuple[Topic, int, bytes]] = []
        self._klines: dict[tuple[Topic, int], bytes] = {}
        self._books: dict[Snapshots, None] = {}

    def put(self, frame: bytes) -> None:
        """An acknowledgement, an error, or the first state of a subscription."""
        if not self.slow:
            self.ready.append(frame)
        elif len(self._frames) < MOST_WAITING:
            self._frames.append(frame)
        else:
            self.overflow = f"more than {MOST_WAITING} answers wait for you to read"

    def put_kline(self, topic: Topic, open_ns: int, frame: bytes) -> None:
        """A row of the kline that opens at `open_ns`."""
        if not self.slow:
            self.ready.append(frame)
            return
        key = (topic, open_ns)
        self._klines.pop(key, None)  # the newest stands where it happened
        self._klines[key] = frame
        if len(self._klines) > MOST_WAITING:
            self.overflow = f"more than {MOST_WAITING} klines wait for you to read"

    def put_trades(self, topic: Topic, count: int, frame: bytes) -> None:
        """A batch of `count` trades."""
        if not self.slow:
            self.ready.append(frame)
            return
        self._trades.append((topic, count, frame))
        self.waiting_trades += count
        if self.waiting_trades > MOST_TRADES:
            self.overflow = f"more than {MOST_TRADES} trades wait for you to read"

    def put_book(self, stream: Snapshots, frame: bytes) -> None:
        """A message of a book's stream."""
        if not self.slow:
            self.ready.append(frame)
        else:
            self._books[stream] = None

    def forget(self, topic: Topic, stream: Snapshots | None) -> None:
        """The client does not listen to this any more: what waits of it is dropped."""
        if stream is not None:
            self._books.pop(stream, None)
        self._klines = {key: frame for key, frame in self._klines.items() if key[0] != topic}
        self._trades = [batch for batch in self._trades if batch[0] != topic]
        self.waiting_trades = sum(count for _, count, _ in self._trades)

    def catch_up(self) -> None:
        """The client reads again: what waited becomes ready."""
        self.slow = False
        self.ready += self._frames
        self.ready += [frame for _, _, frame in self._trades]
        self.ready += self._klines.values()
        self.ready += [frame for frame in (stream.newest_frame() for stream in self._books) if frame is not None]
        self._frames, self._trades, self._klines, self._books, self.waiting_trades = [], [], {}, {}, 0

    def take(self) -> bytes:
        """All that is ready, as one write."""
        data = self.ready[0] if len(self.ready) == 1 else b"".join(self.ready)
        self.ready = []
        return data
