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
from zvt_crypto.emulator.model import E8, Agg, Bar, BookImage, Day, Mark, Market, Trade, read_e8
from zvt_crypto.emulator.tape import Tape

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


class Digits(NamedTuple):
    """Digits after the point that prices and sizes needed so far."""

    price: int
    size: int


class RecordedSymbol:
    """The state of one symbol after the frames applied so far. Books are kept as the wire's own text."""

    def __init__(self, market: Market, coming: list[RestAnswer], first_diff: Frame | None) -> None:
        self.market = market
        self.tape = Tape()
        self.quote: _Quote | None = None
        self.mark: Mark | None = None
        self.last_id = 0
        self.is_whole = False  # a recorded snapshot lies under the book
        self.has_gap = False
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._early: deque[_Depth] = deque(maxlen=_MOST_EARLY)
        self._coming = coming  # the recorded snapshots of this symbol
        self._first_diff = first_diff

    # ── Frames ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, frame: Frame) -> None:
        """Take a frame in; channels that nothing is derived from are passed over."""
        kind = frame.stream.partition("@")[2]
        decoder = _DECODE.get("kline" if kind.startswith("kline_") else kind)
        if decoder is None:
            return
        message = decoder.decode(frame.raw())
        self.tape.event_ms = max(self.tape.event_ms, getattr(message, "E", 0))
        if isinstance(message, _Depth):
            self._diff(message)
        elif isinstance(message, _Trade):
            self._trade(message, kind)
        elif isinstance(message, _Quote):
            self.quote = message
        elif isinstance(message, _Kline):
            self._kline(message.k)
        elif isinstance(message, _Mark):
            self.mark = Mark(
                read_e8(message.p), read_e8(message.i), read_e8(message.r or "0"), message.T * NS_PER_MS, message.E * NS_PER_MS
            )

    def arrive(self, answer: RestAnswer) -> None:
        """A recorded snapshot arrives: it lies under the book if nothing whole does yet."""
        if answer.path != "depth":
            return
        if self.is_whole and not self.has_gap:
            return
        image = SNAPSHOTS.decode(answer.body)
        early = [diff for diff in self._early if diff.u > image.lastUpdateId or (self.market == "usdm" and diff.u == image.lastUpdateId)]
        self._bids, self._asks = dict(image.bids), dict(image.asks)
        self.last_id, self.is_whole, self.has_gap = image.lastUpdateId, True, False
        self._early.clear()
        for diff in early:
            self._apply_diff(diff)

    def _diff(self, diff: _Depth) -> None:
        if self.is_whole and diff.u <= self.last_id:
            return
        if self.is_whole and not self._continues(diff):
            self.has_gap = True
        if not self.is_whole or self.has_gap:
            self._early.append(diff)
        self._apply_diff(diff)

    def _continues(self, diff: _Depth) -> bool:
        if diff.pu is not None:
            return diff.pu == self.last_id or self.last_id >= diff.U
        return self.last_id + 1 >= diff.U

    def _apply_diff(self, diff: _Depth) -> None:
        for side, rows in ((self._bids, diff.b), (self._asks, diff.a)):
            for price, size in rows:
                if size.strip("0.") == "":
                    side.pop(price, None)
                else:
                    side[price] = size
        self.last_id = diff.u

    def _trade(self, t: _Trade, kind: str) -> None:
        price, size, at_ns = read_e8(t.p), read_e8(t.q), t.T * NS_PER_MS
        if kind == "trade":
            self.tape.add_trade(Trade(t.t, price, size, at_ns, t.m))
        else:
            self.tape.add_agg(Agg(t.a, price, size, t.f, t.l, at_ns, t.m))

    def _kline(self, k: _K) -> None:
        if k.i == "1m":
            opened, high, low, close = (read_e8(text) for text in (k.o, k.h, k.l, k.c))
            turnover, taken, at_ns = read_e8(k.q) * E8, read_e8(k.Q) * E8, k.t * NS_PER_MS
            self.tape.say(Bar(at_ns, opened, high, low, close, read_e8(k.v), turnover, k.n, read_e8(k.V), taken, k.f, k.L))

    # ── Questions ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def book(self, applied: int, limit: int) -> BookImage:
        """The own book. Before the recorded snapshot came, that snapshot: a client drops the diffs before it and goes on with the one
        that holds it. Where none was recorded, what quotes and diffs have shown: a partial book."""
        if self.is_whole and not self.has_gap:
            return self._shown(limit)
        coming = next((one for one in self._coming if one.at >= applied), None)
        if coming is not None:
            return snapshot_book(coming, limit)
        if self.last_id == 0 and self._first_diff is not None:
            return first_book(self._first_diff)._replace(bids=self._shown(limit).bids, asks=self._shown(limit).asks)
        return self._shown(limit)

    def _shown(self, limit: int) -> BookImage:
        """The book after the last diff applied. Without a recorded snapshot: what quotes and diffs have shown so far."""
        bids, asks = _levels(self._bids), _levels(self._asks)
        if (not self.is_whole or self.has_gap) and self.quote is not None:
            bid, ask = read_e8(self.quote.b), read_e8(self.quote.a)
            bids = {price: size for price, size in bids.items() if price <= bid} | {bid: read_e8(self.quote.B)}
            asks = {price: size for price, size in asks.items() if price >= ask} | {ask: read_e8(self.quote.A)}
        at_ns = self.tape.event_ms * NS_PER_MS
        return BookImage(self.last_id, at_ns, sorted(bids.items(), reverse=True)[:limit], sorted(asks.items())[:limit])

    def day(self) -> Day | None:
        """The last 24 hours, as far as they are known."""
        day = self.tape.day(self._shown(1))
        if day is None or self.quote is None:
            return day
        bid, ask = (read_e8(self.quote.b), read_e8(self.quote.B)), (read_e8(self.quote.a), read_e8(self.quote.A))
        return day._replace(bid=bid, ask=ask)


def _levels(side: dict[str, str]) -> dict[int, int]:
    return {read_e8(price): read_e8(size) for price, size in side.items()}


def first_book(frame: Frame) -> BookImage:
    """The empty book from which a correct client can go on with a capture's first diff, where no snapshot was recorded."""
    diff = _DECODE["depth"].decode(frame.raw())
    assert isinstance(diff, _Depth)
    return BookImage(diff.U - 1 if diff.pu is None else diff.U, diff.E * NS_PER_MS, [], [])


def snapshot_book(answer: RestAnswer, limit: int) -> BookImage:
    """A recorded snapshot as an image."""
    image = SNAPSHOTS.decode(answer.body)
    bids, asks = _levels(dict(image.bids)), _levels(dict(image.asks))
    return BookImage(image.lastUpdateId, image.E * NS_PER_MS, sorted(bids.items(), reverse=True)[:limit], sorted(asks.items())[:limit])


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
