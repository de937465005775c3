"""symbols.py's run that watches memory: synthetic messages of four exchanges, made as they are read, into the connectors' own streams.

A message is a trade (40 %), a book update of a few levels (50 %) or a kline (10 %), of each symbol in turn; MESSAGES_S of them are a second
of the exchanges' clock. Prices walk within bounds, so books are of bounded size, and every symbol has its 1,500 closed bars from the start.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import cycle
from typing import Any, Literal

import numpy as np
import psutil

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.market import BookSnapshot, Kline
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, Interval
from zvt_crypto.emulator.roster import base_code
from zvt_crypto.engine.book import BookSync
from zvt_crypto.venues.binance import book as binance_book
from zvt_crypto.venues.binance.parse import FrameParser as BinanceParser
from zvt_crypto.venues.binance.stream import BinanceStream
from zvt_crypto.venues.bybit import book as bybit_book
from zvt_crypto.venues.bybit.manners import BybitManners
from zvt_crypto.venues.bybit.parse import FrameParser as BybitParser
from zvt_crypto.venues.clock import SystemClock
from zvt_crypto.venues.coinbase import book as coinbase_book
from zvt_crypto.venues.coinbase.manners import CoinbaseManners
from zvt_crypto.venues.coinbase.product import product_of
from zvt_crypto.venues.inband import InbandStream
from zvt_crypto.venues.okx import book as okx_book
from zvt_crypto.venues.okx.manners import OkxManners
from zvt_crypto.venues.okx.units import traded

EXCHANGES = ("binance", "bybit", "okx", "coinbase")
MESSAGES_S = 5_000
BATCH = 50
KINDS = "tdtdtdtddk"  # trade, depth, kline
MIDDLE, SWING, DEPTH = 100_000, 10, 20  # in ticks of 0.01: after some hundred updates a book has all the levels that it ever has
BARS = 1_500  # what live state keeps
SAMPLES = 40


class Walk:
    """One symbol: its price in ticks, its counters, its forming minute."""

    def __init__(self, native: str, seed: str) -> None:
        self.native, self.lower = native.encode(), native.lower().encode()
        self.chance = random.Random(seed)
        self.middle, self.trade_id, self.update_id = MIDDLE, 1_000_000, 1_000_000
        self.minute_ms = 0

    def step(self) -> int:
        """A tick up or down, or none; the move."""
        move = self.chance.randint(-1, 1)
        if abs(self.middle + move - MIDDLE) > SWING:
            move = 0
        self.middle += move
        return move

    def changes(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Levels (ticks, size) that a book update names: bids stay below the price, asks above."""
        move, middle, draw = self.step(), self.middle, self.chance.randint
        bids = [(middle - 1 - draw(0, DEPTH - 1), draw(1, 9_999)) for _ in range(3)]
        asks = [(middle + 1 + draw(0, DEPTH - 1), draw(1, 9_999)) for _ in range(3)]
        (asks if move >= 0 else bids).append((middle, 0))
        (bids if move <= 0 else asks).append((middle, 0))
        return bids, asks


Render = Callable[[str, Walk, int], bytes]


def price(ticks: int) -> bytes:
    return b"%d.%02d" % divmod(ticks, 100)


def pairs(levels: Sequence[tuple[int, int]], form: bytes) -> bytes:
    return b",".join([form % (price(ticks), size) for ticks, size in levels])


def minute(walk: Walk, at_ms: int) -> tuple[int, bytes]:
    """The minute to tell of and whether it is over."""
    now = at_ms // 60_000 * 60_000
    told, is_over = walk.minute_ms or now, bool(walk.minute_ms) and walk.minute_ms != now
    walk.minute_ms = now
    return told, b"true" if is_over else b"false"


def binance(kind: str, walk: Walk, at_ms: int) -> bytes:
    if kind == "t":
        walk.trade_id += 1
        form = b'{"stream":"%b@trade","data":{"e":"trade","E":%d,"s":"%b","t":%d,"p":"%b0000","q":"0.02000000","T":%d,"m":true,"M":true}}'
        return form % (walk.lower, at_ms, walk.native, walk.trade_id, price(walk.middle), at_ms)
    if kind == "d":
        bids, asks = walk.changes()
        first, walk.update_id = walk.update_id + 1, walk.update_id + 3
        form = b'{"stream":"%b@depth@100ms","data":{"e":"depthUpdate","E":%d,"s":"%b","U":%d,"u":%d,"b":[%b],"a":[%b]}}'
        sides = (pairs(side, b'["%b","%d.00"]') for side in (bids, asks))
        return form % (walk.lower, at_ms, walk.native, first, walk.update_id, *sides)
    start, is_over = minute(walk, at_ms)
    form = (
        b'{"stream":"%b@kline_1m","data":{"e":"kline","E":%d,"s":"%b","k":{"t":%d,"T":%d,"s":"%b","i":"1m","f":1,"L":2,"o":"%b","c":"%b",'
        b'"h":"%b","l":"%b","v":"5.0","n":2,"x":%b,"q":"5.0","V":"1.0","Q":"1.0","B":"0"}}}'
    )
    return form % (walk.lower, at_ms, walk.native, start, start + 59_999, walk.native, *[price(walk.middle)] * 4, is_over)


def bybit(kind: str, walk: Walk, at_ms: int) -> bytes:
    if kind == "t":
        walk.trade_id += 1
        form = (
            b'{"topic":"publicTrade.%b","ts":%d,"type":"snapshot","data":[{"i":"22900000%d","T":%d,"p":"%b","v":"0.5","S":"Buy","seq":1,"s":"%b",'
            b'"BT":false,"RPI":false}]}'
        )
        return form % (walk.native, at_ms, walk.trade_id, at_ms, price(walk.middle), walk.native)
    if kind == "d":
        bids, asks = walk.changes()
        walk.update_id += 1
        form = b'{"topic":"orderbook.200.%b","ts":%d,"type":"delta","data":{"s":"%b","b":[%b],"a":[%b],"u":%d,"seq":1},"cts":%d}'
        sides = (pairs(side, b'["%b","%d"]') for side in (bids, asks))
        return form % (walk.native, at_ms, walk.native, *sides, walk.update_id, at_ms)
    start, is_over = minute(walk, at_ms)
    form = (
        b'{"type":"snapshot","topic":"kline.1.%b","data":[{"start":%d,"end":%d,"interval":"1","open":"%b","close":"%b","high":"%b","low":"%b",'
        b'"volume":"5","turnover":"5","confirm":%b,"timestamp":%d}],"ts":%d}'
    )
    return form % (walk.native, start, start + 59_999, *[price(walk.middle)] * 4, is_over, at_ms, at_ms)


def okx(kind: str, walk: Walk, at_ms: int) -> bytes:
    if kind == "t":
        walk.trade_id += 1
        form = b'{"arg":{"channel":"trades-all","instId":"%b"},"data":[{"instId":"%b","tradeId":"%d","px":"%b","sz":"0.5","side":"buy","ts":"%d"}]}'
        return form % (walk.native, walk.native, walk.trade_id, price(walk.middle), at_ms)
    if kind == "d":
        bids, asks = walk.changes()
        before, walk.update_id = walk.update_id, walk.update_id + 7
        form = (
            b'{"arg":{"channel":"books","instId":"%b"},"action":"update","data":[{"asks":[%b],"bids":[%b],"ts":"%d","checksum":0,"seqId":%d,'
            b'"prevSeqId":%d}]}'
        )
        sides = (pairs(side, b'["%b","%d","0","1"]') for side in (asks, bids))
        return form % (walk.native, *sides, at_ms, walk.update_id, before)
    start, is_over = minute(walk, at_ms)
    form = b'{"arg":{"channel":"candle1m","instId":"%b"},"data":[["%d","%b","%b","%b","%b","5","5","5","%d"]]}'
    return form % (walk.native, start, *[price(walk.middle)] * 4, is_over == b"true")


def coinbase() -> Render:
    """Its messages count on over the whole connection; minutes it does not stream."""
    numbers = iter(range(10**12))

    def render(kind: str, walk: Walk, at_ms: int) -> bytes:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_ms // 1000)).encode() + b".%03dZ" % (at_ms % 1000)
        if kind == "d":
            bids, asks = walk.changes()
            form = b'{"channel":"l2_data","timestamp":"%b","sequence_num":%d,"events":[{"type":"update","product_id":"%b","updates":[%b]}]}'
            told = [(b"bid", level) for level in bids] + [(b"offer", level) for level in asks]
            level = b'{"side":"%b","event_time":"%b","price_level":"%b","new_quantity":"%d"}'
            return form % (
                at,
                next(numbers),
                walk.native,
                b",".join([level % (side, at, price(ticks), size) for side, (ticks, size) in told]),
            )
        walk.trade_id += 1
        form = (
            b'{"channel":"market_trades","timestamp":"%b","sequence_num":%d,"events":[{"type":"update","trades":[{"product_id":"%b","trade_id":"%d",'
            b'"price":"%b","size":"0.5","time":"%b","side":"SELL"}]}]}'
        )
        return form % (at, next(numbers), walk.native, walk.trade_id, price(walk.middle), at)

    return render


class Made:
    """A ports.Socket whose frames are made when they are read; the clock moves by the messages read."""

    def __init__(self, render: Render, walks: list[Walk], begin_ns: int, most: int) -> None:
        self._render, self._walks, self._kinds = render, cycle(walks), cycle(kind for kind in KINDS for _ in walks)
        self._begin_ns, self._left, self.read = begin_ns, most, 0
        self.over = asyncio.Event()

    async def receive(self) -> list[tuple[bytes, int]]:
        if not self._left:
            self.over.set()
            await asyncio.Event().wait()
        count = min(BATCH, self._left)
        self._left -= count
        self.read += count
        at_ns = self._begin_ns + self.read * len(EXCHANGES) * 1_000_000_000 // MESSAGES_S
        return [(self._render(next(self._kinds), next(self._walks), at_ns // NS_PER_MS), at_ns) for _ in range(count)]

    async def send(self, payload: bytes) -> None:
        raise AssertionError(f"nothing is to be said, but {payload!r}")

    async def close(self) -> None:
        pass


class Strict:
    """An observer that takes every warning for a failure."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        pass

    def gauge(self, name: str, value: float, **labels: str) -> None:
        pass

    def note(self, level: Literal["debug", "info", "warning", "error"], event: str, **fields: object) -> None:
        if level in ("warning", "error"):
            raise AssertionError(f"{event}: {fields}")


def instruments_of(exchange: str, count: int) -> list[CryptoPair]:
    form = {"binance": "{}USDT", "bybit": "{}USDT", "okx": "{}-USDT", "coinbase": "{}-USD"}[exchange]
    quote = "USD" if exchange == "coinbase" else "USDT"
    step = {"tick": Decimal("0.01"), "lot": Decimal("0.00001")}
    bases = [base_code(number) for number in range(count)]
    return [
        CryptoPair(
            id=f"cryptopair_{exchange}_{base}{quote}".lower(),
            exchange=exchange,
            native_symbol=form.format(base),
            base_asset=base,
            quote_asset=quote,
            **step,
        )
        for base in bases
    ]


def stream_of(exchange: str, socket: Made, made: list[CryptoPair], syncs: dict[str, BookSync]) -> Any:
    """The connector's own stream, as if it had subscribed."""
    natives, clock, observer = {one.native_symbol: one.id for one in made}, SystemClock(), Strict()
    if exchange == "binance":

        async def never(instrument: str) -> BookSnapshot:
            raise AssertionError(f"the book of {instrument} is whole")

        return BinanceStream(exchange, socket, BinanceParser("spot", natives), (), syncs, natives, never, clock, observer)
    topics = [f"{kind}.{native}" for native in natives for kind in ("publicTrade", "orderbook.200")]
    manners: Any = {
        "bybit": lambda: BybitManners("spot", BybitParser("spot", natives), topics, {}, {}),
        "okx": lambda: OkxManners((), {}, {one.native_symbol: traded(one) for one in made}),
        "coinbase": lambda: CoinbaseManners((), {one.native_symbol: product_of(one) for one in made}, {}),
    }[exchange]()
    return InbandStream(exchange, socket, manners, (), syncs, clock, observer)


CONTINUITY = {
    "binance": binance_book.SpotContinuity(),
    "bybit": bybit_book.CONTINUITY,
    "okx": okx_book.CONTINUITY,
    "coinbase": coinbase_book.CONTINUITY,
}


def begin(exchange: str, count: int, most: int, begin_ns: int, floor: Any) -> tuple[Made, Any]:
    """An exchange whose books stand and whose bars are all there."""
    made = instruments_of(exchange, count)
    renders: dict[str, Render] = {"binance": binance, "bybit": bybit, "okx": okx, "coinbase": coinbase()}
    walks = [Walk(one.native_symbol, f"{exchange} {one.native_symbol}") for one in made]
    syncs: dict[str, BookSync] = {}
    last_ns = begin_ns // NS_PER_MINUTE * NS_PER_MINUTE
    for one, walk in zip(made, walks, strict=True):
        sides = [[((MIDDLE + sign * (1 + level)) / 100, 5.0) for level in range(DEPTH)] for sign in (-1, 1)]
        update_id = 0 if exchange == "coinbase" else walk.update_id
        snapshot = BookSnapshot(one.id, update_id, sides[0], sides[1], begin_ns, begin_ns)
        syncs[one.id] = sync = BookSync(one.id, CONTINUITY[exchange])
        (sync.on_snapshot if exchange == "binance" else sync.on_stream_snapshot)(snapshot)
        floor.feed.publish(snapshot)
        for number in range(BARS, 0, -1):
            prices = (1000.0 + number, 1001.0 + number, 999.0 + number, 1000.5 + number)
            open_ns = last_ns - number * NS_PER_MINUTE
            floor.live.apply(
                Kline(one.id, Interval.MIN_1, open_ns, *prices, 5.0 + number, 5e3 + number, None, True, "venue", open_ns, open_ns)
            )
    socket = Made(renders[exchange], walks, begin_ns, most)
    return socket, stream_of(exchange, socket, made, syncs)


async def run_long(symbols: int, messages: int, floor: Any) -> dict[str, Any]:
    """The figures."""
    begin_ns = time.time_ns()
    parts = [begin(exchange, symbols // len(EXCHANGES), messages // len(EXCHANGES), begin_ns, floor) for exchange in EXCHANGES]
    tasks = [asyncio.create_task(floor.read()), *(asyncio.create_task(floor.pump(stream)) for _, stream in parts)]
    process, began, cpu = psutil.Process(), time.perf_counter(), time.process_time()
    samples: list[tuple[int, float]] = []
    while not all(socket.over.is_set() for socket, _ in parts):
        await asyncio.sleep(0.05)
        for task in tasks:
            if task.done():
                task.result()
        read = sum(socket.read for socket, _ in parts)
        if read >= len(samples) * messages / SAMPLES:
            samples.append((read, process.memory_info().rss / 1e6))
    spent, cpu = time.perf_counter() - began, time.process_time() - cpu
    read = sum(socket.read for socket, _ in parts)
    assert floor.events >= read, f"{read} messages made {floor.events} events"
    books = [floor.live.book(one.id) for exchange in EXCHANGES for one in instruments_of(exchange, symbols // len(EXCHANGES))]
    assert all(book is not None and book.is_valid for book in books), "a book was lost on the way"
    late = samples[len(samples) // 2 :]
    slope = float(np.polyfit([count / 1e6 for count, _ in late], [mb for _, mb in late], 1)[0])
    return {
        "long_messages": read,
        "long_messages_s": round(read / spent),
        "long_cpu_us_message": round(cpu / read * 1e6, 2),
        "long_rss_start_mb": round(samples[0][1], 1),
        "long_rss_end_mb": round(samples[-1][1], 1),
        "long_rss_most_mb": round(max(mb for _, mb in samples), 1),
        "long_mb_per_million": round(slope, 3),
    }
