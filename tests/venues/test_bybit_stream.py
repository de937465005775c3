"""The connector's connections: routes, subscription, books in sync, lost tickers, broken frames, and the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from venues.bybit_parts import (
    BTC,
    DATED,
    ETH,
    INVERSE,
    PERP,
    TS,
    book,
    kline,
    listed,
    recorded_spot,
    ticker,
    trade,
    trades,
    wired,
)
from zvt_crypto.domain.errors import BadInput, Disconnected, Refused, Unreachable, Unsupported
from zvt_crypto.domain.events import TradesDoubted
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.bybit import BybitConnector, BybitOptions, spec
from zvt_crypto.venues.inband import MALFORMED_MOST

SNAPSHOT = book("snapshot", 100, [["10", "1"]], [["11", "1"]])
ETH_SNAPSHOT = book("snapshot", 5, [["10", "1"]], [["11", "1"]], symbol="ETHUSDT")


def acknowledged(message: dict, *, with_id: bool = True) -> bytes | None:
    if message["op"] == "ping":
        return wired({"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"})
    number = {"req_id": message["req_id"]} if with_id else {}
    return wired({"success": True, "ret_msg": "", "conn_id": "c", **number, "op": message["op"]})


class Desk:
    """A connector on a scripted network that answers as the venue does. `reply` may be replaced."""

    def __init__(self, kit, **options) -> None:
        self.clock, self.observer = kit.ManualClock(), kit.ListObserver()
        self.reply = acknowledged
        self.news = asyncio.Event()
        desk = self

        class Wire(kit.ScriptedSocket):
            def push(self, *payloads: bytes, recv_ns: int = (TS + 60_000) * 1_000_000) -> None:
                super().push(*payloads, recv_ns=recv_ns)

            async def send(self, payload: bytes) -> None:
                message = json.loads(payload)
                self.sent.append(message)
                desk.news.set()
                answer = desk.reply(message)
                if answer is not None:
                    self.push(answer)

        class Network(kit.ScriptedTransport):
            async def connect(self, url: str, *, timeout_ms: int = 10_000):
                if self.refuse_connects:
                    raise self.refuse_connects.pop(0)
                self.sockets.append(Wire(url))
                self._connected.set()
                return self.sockets[-1]

        self.transport = Network()
        chosen = BybitOptions(**options) if options else None
        budget = LimitBudget(self.clock, self.observer)
        self.bybit = BybitConnector(self.transport, self.clock, budget, self.observer, instruments=listed(), options=chosen)

    @property
    def socket(self):
        return self.transport.sockets[-1]

    def sent(self, op: str) -> list[list[str]]:
        return [message.get("args", []) for message in self.socket.sent if message["op"] == op]

    async def until_sent(self, op: str, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.sent(op)) < count:
                self.news.clear()
                await self.news.wait()


@pytest.fixture
def desk(kit) -> Desk:
    return Desk(kit)


async def gather(stream, count: int) -> list:
    events: list = []
    async with asyncio.timeout(5):
        while len(events) < count:
            events += await stream.receive()
    return events


async def end_of(stream) -> tuple[list, Exception]:
    events: list = []
    async with asyncio.timeout(5):
        while True:
            try:
                events += await stream.receive()
            except (Disconnected, Refused) as error:
                return events, error


# ── Routes ──


def test_each_category_has_a_connection_of_its_own(desk):
    wanted = [Subscription(i, "depth") for i in (BTC, PERP, INVERSE, DATED, ETH)]
    assert [[s.instrument for s in route] for route in desk.bybit.routes(wanted)] == [[BTC, ETH], [PERP, DATED], [INVERSE]]


def test_all_channels_go_over_one_connection(desk):
    wanted = [Subscription(PERP, channel) for channel in ("trade", "depth", "ticker", "quote", "mark")]
    wanted += [Subscription(PERP, "kline", interval) for interval in Interval]
    assert desk.bybit.routes([*wanted, *wanted]) == [tuple(wanted)]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (Subscription(BTC, "mark"), Unsupported),
        (Subscription(BTC, "agg"), Unsupported),
        (Subscription(BTC, "kline"), BadInput),
        (Subscription(BTC, "trade", Interval.MIN_1), BadInput),
    ],
)
def test_what_cannot_be_subscribed_is_named(desk, wrong, error):
    with pytest.raises(error, match=BTC):
        desk.bybit.routes([wrong])


def test_a_connection_takes_so_many_topics_and_characters(desk, monkeypatch):
    pairs = [i.id for i in listed() if i.id.startswith("cryptopair")]
    wanted = [Subscription(i, channel) for i in pairs for channel in ("depth", "ticker")]
    routes = desk.bybit.routes(wanted)
    assert sorted(s for route in routes for s in route) == sorted(wanted)
    assert [len(route) for route in routes] == [300, 300, 300, 2 * len(pairs) - 900]
    monkeypatch.setattr(spec, "ARGS_CHARS_MOST", 1_000)
    arrays = [json.dumps([desk.bybit._topic(s) for s in route], separators=(",", ":")) for route in desk.bybit.routes(wanted)]
    assert all(900 < len(array) <= 1_001 for array in arrays[:-1])


async def test_what_is_no_route_is_not_opened(desk):
    for wrong in ([Subscription(BTC, "trade"), Subscription(PERP, "trade")], []):
        with pytest.raises(BadInput, match="not one of the routes"):
            await desk.bybit.open_stream(wrong)
    assert desk.transport.sockets == []


# ── Subscribing ──


async def test_spot_subscribes_ten_topics_a_request(desk):
    wanted = [Subscription(i.id, "trade") for i in listed() if i.id.startswith("cryptopair")][:25]
    stream = await desk.bybit.open_stream(wanted)
    assert desk.socket.url == "wss://stream.bybit.com/v5/public/spot"
    assert [len(args) for args in desk.sent("subscribe")] == [10, 10, 5]
    assert len({message["req_id"] for message in desk.socket.sent if message["op"] == "subscribe"}) == 3
    await stream.close()
    assert desk.socket.closed


async def test_ticker_and_mark_share_a_topic_and_each_comes_out(desk):
    stream = await desk.bybit.open_stream([Subscription(PERP, "ticker"), Subscription(PERP, "mark"), Subscription(DATED, "mark")])
    assert desk.socket.url.endswith("/linear")
    assert desk.sent("subscribe") == [["tickers.BTCUSDT", "tickers.BTCUSDT-25DEC26"]]
    desk.socket.push(ticker("snapshot", lastPrice="5", markPrice="6"), ticker("snapshot", "BTCUSDT-25DEC26", lastPrice="5", markPrice="7"))
    events = await gather(stream, 3)
    assert [(type(e), e.instrument) for e in events] == [(Ticker, PERP), (MarkPrice, PERP), (MarkPrice, DATED)]
    await stream.close()


async def test_answers_without_an_id_belong_to_the_oldest_request(desk):
    """Recorded: the venue leaves the id out."""
    desk.reply = lambda message: acknowledged(message, with_id=False)
    wanted = [Subscription(i.id, "trade") for i in listed() if i.id.startswith("cryptopair")][:25]
    stream = await desk.bybit.open_stream(wanted)
    desk.socket.push(trades(trade(1)))
    assert isinstance((await gather(stream, 1))[0], Trade)
    await stream.close()


@pytest.mark.parametrize("number", [{}, {"req_id": "1"}])
async def test_a_refused_subscription_is_refused(desk, number):
    desk.reply = lambda message: wired({"success": False, "ret_msg": "Invalid symbol", "conn_id": "c", **number, "op": "subscribe"})
    with pytest.raises(Refused, match="Invalid symbol"):
        await desk.bybit.open_stream([Subscription(BTC, "trade")])
    assert desk.socket.closed


async def test_no_answer_is_unreachable(desk, monkeypatch):
    monkeypatch.setattr("zvt_crypto.venues.inband.ACK_TIMEOUT_S", 0.01)
    desk.reply = lambda message: None
    with pytest.raises(Unreachable, match="no answer"):
        await desk.bybit.open_stream([Subscription(BTC, "trade")])


async def test_pings_go_out_every_twenty_seconds_and_pongs_do_not_come_out(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "trade")])
    await desk.until_sent("ping", 2)
    desk.socket.push(trades(trade(9)))
    assert [event.trade_id for event in await gather(stream, 1)] == ["9"]
    assert desk.clock.slept.count(20.0) >= 2
    await stream.close()


# ── Books ──


async def test_a_whole_recording_comes_out_as_verified_events(desk):
    wanted = [Subscription(i, channel) for i in (BTC, ETH) for channel in ("depth", "trade", "ticker")]
    wanted += [Subscription(i, "kline", Interval.MIN_1) for i in (BTC, ETH)]
    stream = await desk.bybit.open_stream(wanted)
    desk.socket.push(*(raw for _, raw in recorded_spot() if b'"op"' not in raw))
    events = await gather(stream, 676)
    counts = {kind: sum(isinstance(e, kind) for e in events) for kind in (BookSnapshot, BookDelta, Trade, Ticker, Kline)}
    assert counts == {BookSnapshot: 2, BookDelta: 548, Trade: 20, Ticker: 81, Kline: 25}
    await stream.close()


async def test_a_gap_is_stale_at_once_and_the_topic_alone_is_subscribed_anew(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth"), Subscription(ETH, "depth")])
    desk.socket.push(ETH_SNAPSHOT, SNAPSHOT, book("delta", 101), book("delta", 103), book("delta", 104))
    events = await gather(stream, 4)
    assert [type(e) for e in events] == [BookSnapshot, BookSnapshot, BookDelta, BookStale]
    await desk.until_sent("subscribe", 2)
    assert desk.sent("unsubscribe") == [["orderbook.200.BTCUSDT"]]
    assert desk.sent("subscribe")[1] == ["orderbook.200.BTCUSDT"]
    desk.socket.push(book("snapshot", 9, [["10", "1"]], [["11", "1"]]), book("delta", 10))
    assert [type(e) for e in await gather(stream, 2)] == [BookSnapshot, BookDelta]
    await stream.close()


async def test_repeated_updates_are_ignored_and_counted(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(SNAPSHOT, book("delta", 101), book("delta", 101), book("delta", 102))
    assert [e.last_id for e in await gather(stream, 3)] == [100, 101, 102]
    assert desk.observer.counted["book_updates_repeated"] == 1
    await stream.close()


async def test_a_snapshot_that_never_came_is_asked_for(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth"), Subscription(BTC, "trade")])
    desk.socket.push(trades(trade(1)))
    await gather(stream, 1)
    await desk.until_sent("subscribe", 2)
    assert desk.sent("unsubscribe") == [["orderbook.200.BTCUSDT"]]
    await stream.close()


async def test_a_frame_that_cannot_be_read_makes_stale_whose_it_was(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth"), Subscription(ETH, "depth"), Subscription(BTC, "trade")])
    desk.socket.push(SNAPSHOT, ETH_SNAPSHOT)
    await gather(stream, 2)
    desk.socket.push(book("delta", 101, [["-1", "1"]]), trades(trade(1, p="NaN")), trades(trade(2)))
    events = await gather(stream, 3)
    assert [(type(e), e.instrument) for e in events] == [(BookStale, BTC), (TradesDoubted, BTC), (Trade, BTC)]
    desk.socket.push(book("snapshot", 5, [["10", "1"]], [["11", "1"]]))
    await gather(stream, 1)
    desk.socket.push(b'{"topic":"orderbook.200.?TCUSDT","ts')  # anybody's
    anybodys = [(BookStale, BTC), (BookStale, ETH), (TradesDoubted, BTC)]
    assert [(type(e), e.instrument) for e in await gather(stream, 3)] == anybodys
    await stream.close()


async def test_many_frames_that_cannot_be_read_end_the_connection(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "trade")])
    desk.socket.push(*[b"<html>"] * MALFORMED_MOST)
    _, error = await end_of(stream)
    assert isinstance(error, Disconnected)
    assert str(MALFORMED_MOST) in str(error)
    await stream.close()


async def test_a_topic_that_cannot_be_had_anew_needs_a_new_connection(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth")])
    refused = {"success": False, "ret_msg": "busy", "op": "unsubscribe"}
    desk.reply = lambda message: (
        wired({**refused, "req_id": message["req_id"]}) if message["op"] == "unsubscribe" else acknowledged(message)
    )
    desk.socket.push(SNAPSHOT, book("delta", 103))
    events, error = await end_of(stream)
    assert [type(e) for e in events] == [BookSnapshot, BookStale]
    assert isinstance(error, Disconnected)
    assert "subscribed anew: unsubscribe busy" in str(error)
    await stream.close()


async def test_the_end_makes_every_book_stale_first(desk):
    stream = await desk.bybit.open_stream([Subscription(BTC, "depth"), Subscription(ETH, "depth")])
    desk.socket.push(SNAPSHOT)
    await gather(stream, 1)
    desk.socket.end("cut")
    events, error = await end_of(stream)
    assert [(type(e), e.instrument) for e in events] == [(BookStale, BTC), (BookStale, ETH)]
    assert events[1].reason == f"the connection ended before the first snapshot: {error}"
    assert "cut" in str(error)
    await stream.close()


# ── Tickers that lost their beginning ──


async def test_a_ticker_whose_beginning_is_lost_is_subscribed_anew_now_and_then(desk):
    stream = await desk.bybit.open_stream([Subscription(PERP, "ticker"), Subscription(PERP, "trade")])
    desk.socket.push(ticker("snapshot", lastPrice="5"), ticker("delta", lastPrice="NaN"))
    assert [e.price for e in await gather(stream, 1)] == [5.0]
    desk.socket.push(ticker("delta", volume24h="1"), ticker("delta", volume24h="2"), trades(trade(1)))
    await gather(stream, 1)
    await desk.until_sent("subscribe", 2)
    assert desk.sent("unsubscribe") == [["tickers.BTCUSDT"]]
    desk.socket.push(ticker("snapshot", lastPrice="6"), ticker("delta", volume24h="3"))
    assert [(e.price, e.volume) for e in await gather(stream, 2)] == [(6.0, None), (6.0, 3.0)]
    assert len(desk.sent("subscribe")) == 2
    await stream.close()


# ── Iterators ──


async def test_the_three_iterators(desk):
    frames = {"trade": trades(trade(1)), "kline": kline(name="5", start=1_786_310_700_000), "depth": SNAPSHOT}
    makers = {
        "trade": lambda: desk.bybit.subscribe_trades([BTC]),
        "kline": lambda: desk.bybit.subscribe_kdata([BTC], "5m"),
        "depth": lambda: desk.bybit.subscribe_order_book([BTC]),
    }
    for number, (name, make) in enumerate(makers.items(), 1):
        events = make()
        first = asyncio.ensure_future(anext(events))
        await desk.transport.opened(number)
        desk.socket.push(frames[name])
        event = await asyncio.wait_for(first, 5)
        assert event.instrument == BTC
        await events.aclose()
        assert desk.socket.closed


async def test_a_refused_connection_is_told(desk):
    desk.transport.refuse_connects.append(Unreachable("no route"))
    with pytest.raises(Unreachable, match="no route"):
        await desk.bybit.open_stream([Subscription(BTC, "trade")])
