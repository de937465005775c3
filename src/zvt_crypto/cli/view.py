"""The live view: prices, books, klines as they close, rates, lag; a line every few seconds where nobody looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zvt_crypto.domain.instrument import Instrument, ccxt_symbol
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import Interval, to_rfc3339

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

    from zvt_crypto.cli.build import Node

FRAMES_A_SECOND = 4
LINE_EVERY_S = 3.0
AHEAD_MS = 1.0  # clocks that agree better are as good as the same
SHOWN_INSTRUMENTS = 16
COLUMNS = ("", "price", "1m open", "high", "low", "volume", "bid size", "bid", "ask", "ask size")
DISPENSABLE = ("bid size", "ask size", "1m open", "volume", "high", "low", "bid", "ask")  # in this order, where the terminal is narrow
CLOSED_COLUMNS = ("open time", "", "", "open", "high", "low", "close", "volume", "trades")
CLOSED_DISPENSABLE = ("trades", "volume", "open", "high", "low")
_BETWEEN = 2


async def watch(node: Node, console: Console, title: str, *, live: bool, ends_at: Callable[[], float | None]) -> None:
    """Show until cancelled; the last page stays. `ends_at`: loop time of the end, or None."""
    if not live or not console.is_terminal:
        await _lines(node, console, ends_at)
        return
    from rich.live import Live

    with Live(_page(node, title, ends_at(), console.width), console=console, refresh_per_second=FRAMES_A_SECOND) as view:
        try:
            while True:
                await asyncio.sleep(1 / FRAMES_A_SECOND)
                view.update(_page(node, title, ends_at(), console.width))
        finally:
            view.update(_page(node, title, None, console.width, "stopping …"))


async def _lines(node: Node, console: Console, ends_at: Callable[[], float | None]) -> None:
    while True:
        node.pulse.rate()
        await asyncio.sleep(LINE_EVERY_S)
        console.print(line(node, _left(ends_at())), highlight=False, markup=False, soft_wrap=True)


def last_line(node: Node) -> str:
    """What a run leaves, once nothing is under way any more."""
    recorder = node.recorder
    waiting = f", {recorder.kept:,} kept in {node.settings.spool_dir} for the next start" if recorder.kept else ""
    dropped = f", {recorder.dropped:,} dropped" if recorder.dropped else ""
    untold = f", {recorder.untold:,} holes that no gap tells of" if recorder.untold else ""
    return (
        f"stopped: {recorder.rows:,} rows stored{waiting}{dropped}{untold}, {node.pulse.gaps_seen} gaps ({len(node.pulse.gaps_open)} open)"
    )


def line(node: Node, left_s: float | None) -> str:
    """Where it stands, in one line."""
    pulse = node.pulse
    prices = " ".join(
        f"{_named(node, i)} {decimal_text(trade.price, i.price_precision)}"
        for i in _followed(node)
        if (trade := node.live.last_trade(i.id)) is not None
    )
    end = f"  {left_s:.0f} s left" if left_s is not None else ""
    return (
        f"{pulse.rate():>6,.0f} events/s  {_lags(node, ' ')}  "
        f"{node.recorder.rows:,} rows  {_down(node, '  ')}{pulse.klines_closed} klines closed  {pulse.gaps_seen} gaps  {prices}{end}"
    )


def _page(node: Node, title: str, end: float | None, width: int, foot: str = "Ctrl-C ends") -> Group:
    from rich.console import Group
    from rich.text import Text

    left = _left(end)
    head = Text(title, style="bold")
    if left is not None:
        head.append(f"   {left:.0f} s left", style="dim")
    parts: list[RenderableType] = [head, Text(), _market_table(node, width), Text(), _counts(node)]
    if down := _down(node):
        parts.append(Text(down, style="bold red"))
    if node.pulse.closed:
        parts += [Text(), _closed_table(node, width)]
    if node.api_url:
        parts += [Text(), _addresses(node)]
    return Group(*parts, Text(foot, style="dim"))


def _market_table(node: Node, width: int) -> Table:
    from rich import box
    from rich.table import Table

    rows = [(_named(node, one), *_price_cells(node, one), *_book_cells(node, one)) for one in _followed(node)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown = fitting(COLUMNS, DISPENSABLE, rows, width)
    for number in shown:
        table.add_column(COLUMNS[number], justify="left" if not COLUMNS[number] else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table


def fitting(names: Sequence[str], dispensable: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns for which there is room: a number that is cut is worse than none."""
    widths = [max(map(len, cells)) for cells in zip(names, *rows, strict=True)]
    shown = list(range(len(names)))
    for name in dispensable:
        if sum(widths[number] + _BETWEEN for number in shown) <= width:
            break
        shown.remove(names.index(name))
    return shown


def _named(node: Node, instrument: Instrument) -> str:
    """As people write it; with its exchange where there are several."""
    return f"{instrument.exchange} {ccxt_symbol(instrument)}" if len(node.connectors) > 1 else ccxt_symbol(instrument)


def _price_cells(node: Node, instrument: Instrument) -> list[str]:
    trade, bar = node.live.last_trade(instrument.id), node.live.forming(instrument.id, Interval.MIN_1)
    digits, lots = instrument.price_precision, instrument.quantity_precision
    price = decimal_text(trade.price, digits) if trade else "…"
    if bar is None:
        return [price, "", "", "", ""]
    return [price, *(decimal_text(value, digits) for value in (bar.open, bar.high, bar.low)), decimal_text(bar.volume, lots)]


def _book_cells(node: Node, instrument: Instrument) -> list[str]:
    book = node.live.book(instrument.id)
    if book is None:
        return ["", "…", "…", ""]
    if not book.is_valid:
        return ["", "resync", "resync", ""]
    bids, asks = book.top(1)
    digits, lots = instrument.price_precision, instrument.quantity_precision
    bid = [decimal_text(bids[0][1], lots), decimal_text(bids[0][0], digits)] if bids else ["", ""]
    ask = [decimal_text(asks[0][0], digits), decimal_text(asks[0][1], lots)] if asks else ["", ""]
    return [*bid, *ask]


def _counts(node: Node) -> RenderableType:
    from rich.text import Text

    pulse, recorder = node.pulse, node.recorder
    dropped = f", {recorder.dropped:,} dropped" if recorder.dropped else ""
    streams = ", ".join(_connections(node))
    gaps = f"{pulse.gaps_seen} gaps ({len(pulse.gaps_open)} open)"
    return Text(
        f"{pulse.rate():,.0f} events/s ({pulse.total:,} so far)   {_lags(node, ', ')}\n"
        f"{recorder.rows:,} rows stored, {recorder.backlog:,} waiting{dropped}   {pulse.klines_closed} klines closed   {gaps}   "
        f"{pulse.resyncs} book resyncs\n{streams or 'connecting …'}"
    )


def _down(node: Node, end: str = "") -> str:
    """What a database that takes nothing means now; empty where all is well."""
    since_ns = node.recorder.down_since_ns
    if since_ns is None:
        return ""
    return f"database down since {to_rfc3339(since_ns)[11:19]} UTC, {node.recorder.backlog:,} rows waiting{end}"


def _connections(node: Node) -> list[str]:
    """`okx 2 live`; those that are not live by their names."""
    states = sorted(node.pulse.streams.values(), key=lambda status: status.stream)
    live = Counter(status.exchange for status in states if status.state == "live")
    told = [f"{exchange} {count} live" for exchange, count in sorted(live.items())]
    listless = {status.stream for status in states if status.state == "stopped" and status.stream == f"{status.exchange} tables"}
    others = [status for status in states if status.state != "live"]
    return told + [status.reason if status.stream in listless else f"{status.stream} {status.state}" for status in others]


def _closed_table(node: Node, width: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title="newest closed klines", title_justify="left", title_style="dim")
    rows = _closed_rows(node)
    shown = fitting(CLOSED_COLUMNS, CLOSED_DISPENSABLE, rows, width)
    for number in shown:
        name = CLOSED_COLUMNS[number]
        table.add_column(name, justify="left" if name in ("", "open time") else "right", no_wrap=True, header_style="dim")
    for row in rows:
        table.add_row(*(row[number] for number in shown))
    return table


def _closed_rows(node: Node) -> list[tuple[str, ...]]:
    rows = []
    names = {i.id: i for i in _followed(node)}
    for kline in reversed(node.pulse.closed):
        of = names.get(kline.instrument)
        digits, lots = (of.price_precision, of.quantity_precision) if of else (None, None)
        prices = [decimal_text(value, digits) for value in (kline.open, kline.high, kline.low, kline.close)]
        name = _named(node, of) if of else kline.instrument
        ends = decimal_text(kline.volume, lots), str(kline.trades)
        rows.append((to_rfc3339(kline.open_ns)[11:16], name, str(kline.interval), *prices, *ends))
    return rows


def _addresses(node: Node) -> RenderableType:
    from rich.text import Text

    return Text("\n".join(addresses(node)))


def addresses(node: Node) -> list[str]:
    """What to open."""
    first = next(iter(_followed(node)), None)
    entity = first.id if first is not None else "cryptopair_binance_btcusdt"
    api = f"{node.api_url}/api/v1/crypto"
    return [
        f"{node.api_url}/docs   every endpoint, to try",
        f"{api}/kdata?symbol={entity}&interval=1m&limit=10",
        f"{api}/orderbook?symbol={entity}&depth=5",
        f"{node.ws_url}   klines, trades and books as they happen",
    ]


def _followed(node: Node) -> list[Instrument]:
    """The first instruments that are followed."""
    table = node.instruments()
    return [found for name in node.followed()[:SHOWN_INSTRUMENTS] if (found := table.get(name)) is not None]


def _lags(node: Node, between: str) -> str:
    """No lag is below 0: where it seems so, the exchange's clock is ahead of ours, by that much at least."""
    half, most = node.pulse.lag_ms(0.5), node.pulse.lag_ms(0.99)
    told = f"lag p50 {_ms(half)}{between}p99 {_ms(most)}"
    if half is None or half > -AHEAD_MS:
        return told
    of = "the exchange's clock" if len(node.connectors) == 1 else "an exchange's clock"
    return f"{told} ({of} is {f'{-half / 1000:.1f} s' if half <= -1000 else f'{-half:.1f} ms'} ahead)"


def _ms(value: float | None) -> str:
    return "…" if value is None else f"{max(0.0, value):.1f} ms"


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - asyncio.get_running_loop().time())
