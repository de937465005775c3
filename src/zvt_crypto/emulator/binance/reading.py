"""A recording of Binance, understood: symbols by the recorded exchangeInfo or inferred, books by the recorded snapshots."""

from __future__ import annotations

import contextlib

import msgspec

from zvt_crypto.emulator.binance.recorded import (
    Diff,
    RecordedSymbol,
    digits_seen,
    event_ms_of,
    read_diff,
    snapshot_book,
    split_symbol,
)
from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.frames import Frame
from zvt_crypto.emulator.model import E8, BookImage, Listing, Market, read_e8

_SAMPLE = 2_000  # frames of a symbol that digits are inferred from


class BinanceReading:
    """reading.Reading."""

    def __init__(self, capture: Capture) -> None:
        self._snapshots: dict[tuple[Market, str], list[tuple[int, BookImage]]] = {}
        self._infos: dict[Market, bytes] = {}
        for answer in capture.answers:
            if answer.path == "depth":
                with contextlib.suppress(ValueError, msgspec.MsgspecError):  # as if it had not been recorded
                    image = snapshot_book(answer)
                    self._snapshots.setdefault((answer.market, answer.symbol), []).append((answer.at, image))
            elif answer.path == "exchangeInfo":
                self._infos.setdefault(answer.market, answer.body)
        self._first_diff: dict[tuple[Market, str], Diff] = {}
        for frame in capture.frames:
            if frame.stream.endswith("@depth") and (frame.market, frame.symbol) not in self._first_diff:
                with contextlib.suppress(ValueError, msgspec.MsgspecError):  # the next one is the first
                    self._first_diff[frame.market, frame.symbol] = read_diff(frame)
        self.listings = _listings(capture, self._infos)

    def state(self, market: Market, symbol: str) -> RecordedSymbol:
        """Reading.state."""
        key = (market, symbol)
        return RecordedSymbol(market, self._snapshots.get(key, []), self._first_diff.get(key))

    def event_ms(self, frame: Frame) -> int:
        """Reading.event_ms."""
        return event_ms_of(frame)

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded."""
        return self._infos.get(market) if path == "exchangeInfo" else None

    def partial_books(self) -> list[str]:
        """Reading.partial_books."""
        return sorted(f"{market} {symbol}" for market, symbol in self._first_diff if (market, symbol) not in self._snapshots)


class _InfoFilter(msgspec.Struct):
    filterType: str  # noqa: N815 - the wire's names
    tickSize: str = ""  # noqa: N815
    stepSize: str = ""  # noqa: N815


class _InfoSymbol(msgspec.Struct):
    symbol: str
    baseAsset: str  # noqa: N815
    quoteAsset: str  # noqa: N815
    filters: list[_InfoFilter] = []


class _Info(msgspec.Struct):
    symbols: list[_InfoSymbol]


def _listings(capture: Capture, infos: dict[Market, bytes]) -> dict[Market, dict[str, Listing]]:
    """The symbols of the frames, by the recorded exchangeInfo where there is one, else inferred."""
    known: dict[tuple[Market, str], _InfoSymbol] = {}
    for market, body in infos.items():
        with contextlib.suppress(msgspec.MsgspecError):
            known.update({((market, one.symbol)): one for one in msgspec.json.decode(body, type=_Info).symbols})
    listings: dict[Market, dict[str, Listing]] = {"spot": {}, "usdm": {}}
    samples: dict[tuple[Market, str], list[Frame]] = {}
    for frame in capture.frames:
        sample = samples.setdefault((frame.market, frame.symbol), [])
        if len(sample) < _SAMPLE:
            sample.append(frame)
    for (market, symbol), sample in samples.items():
        info = known.get((market, symbol))
        listings[market][symbol] = _stated(market, info, capture) if info else _inferred(market, symbol, sample)
    return listings


def _stated(market: Market, info: _InfoSymbol, capture: Capture) -> Listing:
    tick = next((one.tickSize for one in info.filters if one.filterType == "PRICE_FILTER"), "0.00000001")
    lot = next((one.stepSize for one in info.filters if one.filterType == "LOT_SIZE"), "0.00000001")
    return Listing(market, info.symbol, info.baseAsset, info.quoteAsset, read_e8(tick), read_e8(lot), 5 * E8, capture.first_ns)


def _inferred(market: Market, symbol: str, sample: list[Frame]) -> Listing:
    base, quote = split_symbol(symbol)
    digits = digits_seen(sample)
    return Listing(
        market, symbol, base, quote, 10 ** (8 - min(8, digits.price)), 10 ** (8 - min(8, digits.size)), 5 * E8, sample[0].recv_ns
    )
