"""OKX's public channels: on which path, out of which of the world's streams, and what they push.

Not offered: open interest, price limits, liquidations, mark and index candles (`60018`), and books by the order, which need a login.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.model import Agg, BarEvent, BookImage, Day, Emission, Fact, Mark, Quote, Trade, World
from zvt_crypto.emulator.okx import wire
from zvt_crypto.emulator.okx.capture import common_name
from zvt_crypto.emulator.okx.names import BARS, Instrument, every_instrument, instruments, newest_bars, widened
from zvt_crypto.emulator.okx.rest import FUNDING_NS, day_opens, ticker_rows
from zvt_crypto.emulator.okx.sessions import Path

_CANDLE = "candle"
_FUNDING_EVERY_S = 60  # OKX: 30 to 90
LOGIN_ONLY = ("books-l2-tbt", "books50-l2-tbt")
BEST = {"books5": 5, "bbo-tbt": 1}
# channel → (path, the world's stream)
_CHANNELS: dict[str, tuple[Path, str]] = {
    "trades": ("public", "aggTrade"),
    "trades-all": ("business", "trade"),
    "tickers": ("public", "ticker@100ms"),
    "books": ("public", "depth@100ms"),
    "books5": ("public", "depth5@100ms"),
    "bbo-tbt": ("public", "bookTicker"),
    "mark-price": ("public", "markPrice@1s"),
    "index-tickers": ("public", "markPrice@1s"),
    "funding-rate": ("public", "markPrice@1s"),
}
_SINGLE = "trades-all"
_OF_SWAPS = ("mark-price", "index-tickers", "funding-rate")


class Topic(NamedTuple):
    """A channel of an instrument, and the world's stream it comes from ("": none was recorded). `arg` is what OKX writes back."""

    channel: str
    one: Instrument
    stream: str
    arg: str


def topic_of(world: World, path: Path, arg: dict[str, str]) -> Topic | None:
    """What an arg names on this path; None where there is no such channel or instrument."""
    channel, name = arg.get("channel", ""), arg.get("instId", "")
    place, stream = _CHANNELS.get(channel, ("business", ""))
    if channel.startswith(_CANDLE) and channel[len(_CANDLE) :] in BARS:
        bars = BARS[channel[len(_CANDLE) :]]
        interval = "1h" if bars.east_ns else bars.interval
        stream = f"kline_{interval}" if interval == "1s" else f"kline_{interval}@1000ms"
    if world.mode == "replay" and stream:
        stream = common_name(channel)
    if channel == "index-tickers":
        found = {one.family: one for one in instruments(world, "SWAP").values()}.get(name)
    else:
        found = (instruments(world, "SWAP") if channel in _OF_SWAPS else every_instrument(world)).get(name)
    if not stream or place != path or found is None:
        return None
    symbol = found.listing.symbol.lower()
    canonical = world.canonical(found.listing.market, f"{symbol}@{stream}")
    if canonical is None and world.mode == "replay" and channel == _SINGLE:
        canonical = world.canonical(found.listing.market, f"{symbol}@{common_name('trades')}")
    return Topic(channel, found, canonical or "", arg_text(arg))


def arg_text(arg: dict[str, str]) -> str:
    """The arg as OKX writes it back."""
    known = ((key, arg[key]) for key in ("channel", "instType", "instId") if key in arg)
    return "{" + ",".join(f'"{key}":{msgspec.json.encode(value).decode()}' for key, value in known) + "}"


class _Rows(msgspec.Struct):
    data: list[dict[str, Any]]


def retold(topic: Topic, raw: bytes) -> Iterable[bytes]:
    """A recorded frame. Where only `trades` was recorded, readers of `trades-all` hear of its rows those that are one fill."""
    if topic.channel != _SINGLE or not topic.stream.endswith(common_name("trades")):
        return (raw,)
    try:
        rows = [row for row in msgspec.json.decode(raw, type=_Rows).data if row.get("count", "1") == "1"]
    except msgspec.MsgspecError:
        return ()  # what cannot be read cannot be told in other words
    single = [{key: value for key, value in row.items() if key not in ("count", "seqId")} for row in rows]
    return (wire.push(topic.arg, (msgspec.json.encode(row).decode() for row in single)),) if single else ()


def rows_of(world: World, topic: Topic, emission: Emission) -> Iterable[str]:
    """What a channel other than a book's pushes of an event."""
    fact: Fact = emission.fact
    if isinstance(fact, Agg):
        return [wire.agg_row(topic.one, fact)]
    if isinstance(fact, Trade):
        return [wire.trade_row(topic.one, fact)]
    if isinstance(fact, Day):
        return [wire.ticker_row(topic.one, fact, day_opens(world, topic.one))]
    if isinstance(fact, Mark):
        is_due = topic.channel != "funding-rate" or fact.event_ns // NS_PER_S % _FUNDING_EVERY_S == 0
        return [_mark_row(topic, fact)] if is_due else []
    if isinstance(fact, BarEvent):
        return [_bar_row(world, topic, fact)]
    return []


def first_rows(world: World, topic: Topic) -> Iterable[str]:
    """What a channel other than a book's pushes right after the acknowledgement: how things stand."""
    one = topic.one
    if topic.channel == "trades":
        return [wire.agg_row(one, row) for row in world.aggs(one.listing, None, None, None, 1)]
    if topic.channel == "trades-all":
        return [wire.trade_row(one, row) for row in world.trades(one.listing, None, 1)]
    if topic.channel == "tickers":
        return ticker_rows(world, one)
    if topic.channel in _OF_SWAPS:
        mark = world.mark(one.listing)
        return [] if mark is None else [_mark_row(topic, mark)]
    bars = BARS[topic.channel[len(_CANDLE) :]]
    return [wire.candle_row(one, row, is_final=False) for row in newest_bars(world, one.listing, bars, None, 1)]


def best_of(fact: Fact) -> BookImage | None:
    """The picture of a `books5` or `bbo-tbt` frame."""
    if isinstance(fact, Quote):
        return BookImage(fact.last_id, fact.event_ns, [fact.bid], [fact.ask])
    return fact if isinstance(fact, BookImage) else None


def _mark_row(topic: Topic, mark: Mark) -> str:
    if topic.channel == "mark-price":
        return wire.mark_row(topic.one, mark)
    if topic.channel == "index-tickers":
        return wire.index_row(topic.one, mark)
    return wire.funding_row(topic.one, mark, FUNDING_NS)


def _bar_row(world: World, topic: Topic, event: BarEvent) -> str:
    bars = BARS[topic.channel[len(_CANDLE) :]]
    if bars.east_ns == 0:
        return wire.candle_row(topic.one, event.bar, is_final=event.is_final)
    bar = widened(world, topic.one.listing, bars, event.bar)
    ends = bars.next(bar.open_ns) == event.bar.open_ns + 3600 * NS_PER_S
    return wire.candle_row(topic.one, bar, is_final=event.is_final and ends)
