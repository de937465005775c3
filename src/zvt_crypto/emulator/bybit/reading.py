"""A recording of Bybit, understood: instruments by the recorded answers or inferred, books by the snapshots in the stream."""

from __future__ import annotations

import contextlib
import re

import msgspec

from zvt_crypto.emulator.binance.recorded import split_symbol
from zvt_crypto.emulator.bybit.capture import DEPTH
from zvt_crypto.emulator.bybit.recorded import RecordedSymbol
from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.frames import Frame
from zvt_crypto.emulator.model import E8, Listing, Market, decimals_of, read_e8

_TS = re.compile(rb'"ts":(\d{13})')
_SNAPSHOT = re.compile(rb'"type":"snapshot"')
_NUMBERS = re.compile(rb'\["([\d.]+)","([\d.]+)"\]|"p":"([\d.]+)","v":"([\d.]+)"')
_SAMPLE = 500  # frames of a symbol that digits are inferred from


class _Price(msgspec.Struct):
    tickSize: str = "0"  # noqa: N815 - the wire's names


class _Lot(msgspec.Struct):
    basePrecision: str = ""  # noqa: N815
    qtyStep: str = ""  # noqa: N815


class _Row(msgspec.Struct):
    symbol: str
    baseCoin: str  # noqa: N815
    quoteCoin: str  # noqa: N815
    priceFilter: _Price  # noqa: N815
    lotSizeFilter: _Lot  # noqa: N815


class _Result(msgspec.Struct):
    rows: list[msgspec.Raw] = msgspec.field(name="list")


class _Answer(msgspec.Struct):
    result: _Result


class BybitReading:
    """reading.Reading. A listing's symbol is Bybit's own."""

    def __init__(self, capture: Capture) -> None:
        self._pages: dict[str, list[msgspec.Raw]] = {}  # by path: all recorded rows of a category
        rows: dict[tuple[Market, str], _Row] = {}
        for answer in capture.answers:
            with contextlib.suppress(msgspec.MsgspecError):  # a refusal was recorded: then the instruments are inferred
                listed = msgspec.json.decode(answer.body, type=_Answer).result.rows
                rows |= {(answer.market, row.symbol): row for row in (msgspec.json.decode(raw, type=_Row) for raw in listed)}
                self._pages.setdefault(answer.path, []).extend(listed)
        self._books: dict[tuple[Market, str], dict[str, bool]] = {}  # symbol → channel → whether a snapshot lies under it
        samples: dict[tuple[Market, str], list[Frame]] = {}
        for frame in capture.frames:
            key, channel = (frame.market, frame.symbol), frame.stream.partition("@")[2]
            if len(sample := samples.setdefault(key, [])) < _SAMPLE:
                sample.append(frame)
            if channel.startswith(DEPTH):
                held = self._books.setdefault(key, {})
                held[channel] = held.get(channel, False) or _SNAPSHOT.search(frame.payload, 0, 200) is not None
        self.listings: dict[Market, dict[str, Listing]] = {"spot": {}, "usdm": {}, "coinm": {}}
        for (market, symbol), sample in samples.items():
            row = rows.get((market, symbol))
            self.listings[market][symbol] = _inferred(market, symbol, sample) if row is None else _stated(market, row, sample[0])

    def state(self, market: Market, symbol: str) -> RecordedSymbol:
        """Reading.state: REST tells the deepest book that is whole."""
        held = self._books.get((market, symbol), {})
        best = max(held, key=lambda channel: (held[channel], int(channel.removeprefix(DEPTH))), default="")
        return RecordedSymbol(best, self.listings[market][symbol])

    def event_ms(self, frame: Frame) -> int:
        """Reading.event_ms."""
        found = _TS.search(frame.payload)
        return int(found[1]) if found else 0

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded: of `instruments-info spot`, a list of all rows of the category."""
        rows = self._pages.get(path)
        return None if rows is None else msgspec.json.encode(rows)

    def partial_books(self) -> list[str]:
        """Reading.partial_books."""
        return sorted(f"{market} {symbol}" for (market, symbol), held in self._books.items() if not any(held.values()))


def _stated(market: Market, row: _Row, first: Frame) -> Listing:
    tick, lot = read_e8(row.priceFilter.tickSize), read_e8(row.lotSizeFilter.qtyStep or row.lotSizeFilter.basePrecision or "0")
    return Listing(market, row.symbol, row.baseCoin, row.quoteCoin, tick or 1, lot or 1, E8, first.recv_ns, _contract(market))


def _inferred(market: Market, symbol: str, sample: list[Frame]) -> Listing:
    base, quote = ("", "") if not symbol.endswith("PERP") else (symbol.removesuffix("PERP"), "USDC")
    if not base:
        base, quote = split_symbol(symbol.partition("-")[0])
    price = size = 0
    for frame in sample:
        for one in _NUMBERS.findall(frame.payload):
            price, size = max(price, _digits(one[0] or one[2])), max(size, _digits(one[1] or one[3]))
    return Listing(market, symbol, base, quote, 10 ** (8 - price), 10 ** (8 - size), E8, sample[0].recv_ns, _contract(market))


def _contract(market: Market) -> int:
    """The dollars of a contract: one, of inverse ones alone."""
    return E8 if market == "coinm" else 0


def _digits(text: bytes) -> int:
    """Digits after the point that a number needs; 0 of what is none."""
    try:
        return decimals_of(read_e8(text.decode()) or E8)
    except ValueError:
        return 0
