"""What follows from a recording of Binance up to an instant, one symbol at a time: book, quotes, and the tape of its trades.

Independent of the platform's own code, so that it can contradict it.
"""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

import msgspec

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.frames import Frame, RestAnswer
from zvt_crypto.emulator.model import E8, Agg, Bar, BookImage, Day, Mark, Market, Quote, Trade, change_side, read_e8
from zvt_crypto.emulator.tape import Level, Tape, checked_id

_MOST_EARLY = 5_000  # diffs held while no snapshot has come
# Longer before shorter where one ends in the other.
_QUOTES = (
    "FDUSD",
    "USDT",
    "USDC",
    "TUSD",
    "BUSD",
    "USDP",
    "BIDR",
    "DAI",
    "USD",
    "BTC",
    "ETH",
    "BNB",
    "EUR",
    "GBP",
    "TRY",
    "BRL",
    "JPY",
    "AUD",
)


class _Depth(msgspec.Struct):
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    E: int = 0
    pu: int | None = None


class _Snapshot(msgspec.Struct):
    lastUpdateId: int  # noqa: N815 - the wire's name
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    E: int = 0


class _Trade(msgspec.Struct):
    p: str
    q: str
    T: int
    m: bool
    t: int = 0
    a: int = 0
    f: int = 0
    l: int = 0  # noqa: E741 - the wire's name
    E: int = 0


class _Quote(msgspec.Struct):
    u: int
    b: str
    B: str
    a: str
    A: str
    E: int = 0


class _K(msgspec.Struct):
    t: int
    i: str
    f: int
    L: int
    o: str
    c: str
    h: str
    l: str  # noqa: E741 - the wire's name
    v: str
    n: int
    q: str
    V: str
    Q: str


class _Kline(msgspec.Struct):
    k: _K
    E: int = 0


class _Mark(msgspec.Struct):
    E: int
    p: str
    i: str = "0"
    r: str = "0"
    T: int = 0


_DECODE = {
    kind: msgspec.json.Decoder(shape)
    for kind, shape in {
        "depth": _Depth, "trade": _Trade, "aggTrade": _Trade, "bookTicker": _Quote, "kline": _Kline, "markPrice": _Mark,
    }.items()
}  # fmt: skip
SNAPSHOTS = msgspec.json.Decoder(_Snapshot)


class Diff(NamedTuple):
    """A diff, read. Ids: first and last change, last of the diff before where one is told."""

    first_id: int
    last_id: int
    previous_id: int | None
    event_ms: int
    bids: list[Level]
    asks: list[Level]


class Digits(NamedTuple):
    """Digits after the point that prices and sizes needed so far."""

    price: int
    size: int


class RecordedSymbol:
    """The state of one symbol after the frames applied so far.

    coming: its recorded snapshots, each with how many frames had come before it. first_diff: the first one of the recording.
    """

    def __init__(self, market: Market, coming: list[tuple[int, BookImage]], first_diff: Diff | None) -> None:
        self.market = market
        self.tape = Tape()
        self.quote: Quote | None = None
        self.mark: Mark | None = None
        self.last_id = 0
        self.is_whole = False  # a recorded snapshot lies under the book
        self.has_gap = False
        self._bids: dict[int, int] = {}
        self._asks: dict[int, int] = {}
        self._early: deque[Diff] = deque(maxlen=_MOST_EARLY)
        self._coming = coming
        self._first_diff = first_diff

    # ── Frames ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, frame: Frame) -> None:
        """Take a frame in; channels that nothing is derived from are passed over."""
        kind = frame.stream.partition("@")[2]
        decoder = _DECODE.get("kline" if kind.startswith("kline_") else kind)
        if decoder is None:
            return
        message = decoder.decode(frame.raw())
        if isinstance(message, _Depth):
            self._diff(_diff_of(message))
        elif isinstance(message, _Trade):
            self._trade(message, kind)
        elif isinstance(message, _Quote):
            self.quote = _quote_of(message)
        elif isinstance(message, _Kline):
            self._kline(message.k)
        elif isinstance(message, _Mark):
            self._mark(message)
        self.tape.hear(getattr(message, "E", 0))

    def arrive(self, answer: RestAnswer) -> None:
        """A recorded snapshot arrives: it lies under the book if nothing whole does yet."""
        if answer.path != "depth":
            return
        if self.is_whole and not self.has_gap:
            return
        image = snapshot_book(answer)
        oldest_id = image.last_id if self.market == "usdm" else image.last_id + 1
        early = [diff for diff in self._early if diff.last_id >= oldest_id]
        self._bids, self._asks = dict(image.bids), dict(image.asks)
        self.last_id, self.is_whole, self.has_gap = image.last_id, True, False
        self._early.clear()
        for diff in early:
            self._apply_diff(diff)

    def _diff(self, diff: Diff) -> None:
        if self.is_whole and diff.last_id <= self.last_id:
            return
        if self.is_whole and not self._continues(diff):
            self.has_gap = True
        if not self.is_whole or self.has_gap:
            self._early.append(diff)
        self._apply_diff(diff)

    def _continues(self, diff: Diff) -> bool:
        if diff.previous_id is not None:
            return diff.previous_id == self.last_id or self.last_id >= diff.first_id
        return self.last_id + 1 >= diff.first_id

    def _apply_diff(self, diff: Diff) -> None:
        for side, rows in ((self._bids, diff.bids), (self._asks, diff.asks)):
            change_side(side, rows)
        self.last_id = diff.last_id

    def _trade(self, t: _Trade, kind: str) -> None:
        price, size, at_ns = read_e8(t.p), read_e8(t.q), t.T * NS_PER_MS
        if kind == "trade":
            self.tape.add_trade(Trade(checked_id(t.t), price, size, at_ns, t.m))
        else:
            self.tape.add_agg(Agg(checked_id(t.a), price, size, checked_id(t.f), checked_id(t.l), at_ns, t.m))

    def _kline(self, k: _K) -> None:
        if k.i == "1m":
            opened, high, low, close = (read_e8(text) for text in (k.o, k.h, k.l, k.c))
            turnover, taken, at_ns = read_e8(k.q) * E8, read_e8(k.Q) * E8, k.t * NS_PER_MS
            self.tape.say(Bar(at_ns, opened, high, low, close, read_e8(k.v), turnover, k.n, read_e8(k.V), taken, k.f, k.L))

    def _mark(self, told: _Mark) -> None:
        at_ns, due_ns = told.E * NS_PER_MS, told.T * NS_PER_MS
        mark = Mark(read_e8(told.p), read_e8(told.i), read_e8(told.r or "0"), due_ns, at_ns)
        if self.tape.takes(at_ns, "mark price"):
            self.mark = mark

    # ── Questions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def book(self, applied: int, limit: int) -> BookImage:
        """The own book. Before the recorded snapshot came, that snapshot: a client drops the diffs before it and goes on with the one
        that holds it. Where none was recorded, what quotes and diffs have shown: a partial book."""
        if self.is_whole and not self.has_gap:
            return self._shown(limit)
        coming = next((image for at, image in self._coming if at >= applied), None)
        if coming is not None:
            return coming._replace(bids=coming.bids[:limit], asks=coming.asks[:limit])
        if self.last_id == 0 and self._first_diff is not None:
            return first_book(self._first_diff)._replace(bids=self._shown(limit).bids, asks=self._shown(limit).asks)
        return self._shown(limit)

    def _shown(self, limit: int) -> BookImage:
        """The book after the last diff applied. Without a recorded snapshot: what quotes and diffs have shown so far."""
        bids, asks = self._bids, self._asks
        if (not self.is_whole or self.has_gap) and self.quote is not None:
            (bid, bid_size), (ask, ask_size) = self.quote.bid, self.quote.ask
            bids = {price: size for price, size in bids.items() if price <= bid} | {bid: bid_size}
            asks = {price: size for price, size in asks.items() if price >= ask} | {ask: ask_size}
        at_ns = self.tape.event_ms * NS_PER_MS
        return BookImage(self.last_id, at_ns, sorted(bids.items(), reverse=True)[:limit], sorted(asks.items())[:limit])

    def day(self) -> Day | None:
        """The last 24 hours, as far as they are known."""
        day = self.tape.day(self._shown(1))
        if day is None or self.quote is None:
            return day
        return day._replace(bid=self.quote.bid, ask=self.quote.ask)


def _levels(rows: list[tuple[str, str]]) -> list[Level]:
    return [(read_e8(price), read_e8(size)) for price, size in rows]


def _diff_of(depth: _Depth) -> Diff:
    before = None if depth.pu is None else checked_id(depth.pu)
    return Diff(checked_id(depth.U), checked_id(depth.u), before, depth.E, _levels(depth.b), _levels(depth.a))


def _quote_of(quote: _Quote) -> Quote:
    return Quote(quote.u, quote.E * NS_PER_MS, (read_e8(quote.b), read_e8(quote.B)), (read_e8(quote.a), read_e8(quote.A)))


def read_diff(frame: Frame) -> Diff:
    """A frame of `depth`. Raises ValueError and MsgspecError."""
    depth = _DECODE["depth"].decode(frame.raw())
    assert isinstance(depth, _Depth)
    return _diff_of(depth)


def first_book(diff: Diff) -> BookImage:
    """The empty book from which a correct client can go on with a capture's first diff, where no snapshot was recorded."""
    return BookImage(diff.first_id - 1 if diff.previous_id is None else diff.first_id, diff.event_ms * NS_PER_MS, [], [])


def snapshot_book(answer: RestAnswer) -> BookImage:
    """A recorded snapshot as an image. Raises ValueError and MsgspecError."""
    image = SNAPSHOTS.decode(answer.body)
    bids, asks = dict(_levels(image.bids)), dict(_levels(image.asks))
    return BookImage(checked_id(image.lastUpdateId), image.E * NS_PER_MS, sorted(bids.items(), reverse=True), sorted(asks.items()))


def event_ms_of(frame: Frame) -> int:
    """The exchange's time in a frame, 0 where it carries none."""
    found = re.search(rb'"E":(\d{13})', frame.payload)
    return int(found[1]) if found else 0


def digits_seen(frames: list[Frame]) -> Digits:
    """The most digits after the point that prices and sizes of these frames need."""
    price = size = 0
    for frame in frames:
        for p, q in _PAIRS.findall(frame.payload) + _TRADED.findall(frame.payload) + _QUOTED.findall(frame.payload):
            price = max(price, len(p.partition(b".")[2].rstrip(b"0")))
            size = max(size, len(q.partition(b".")[2].rstrip(b"0")))
    return Digits(price, size)


_PAIRS = re.compile(rb'\["([\d.]+)","([\d.]+)"\]')
_TRADED = re.compile(rb'"p":"([\d.]+)","q":"([\d.]+)"')
_QUOTED = re.compile(rb'"[ab]":"([\d.]+)","[AB]":"([\d.]+)"')


def split_symbol(symbol: str) -> tuple[str, str]:
    """(base, quote) by the quote assets that exchanges use; a symbol that ends in none is all base, quoted in USD."""
    for quote in _QUOTES:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    return symbol, "USD"
