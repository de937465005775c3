"""The connector's connections: routes, subscription, books in sync, broken frames, and the end."""

from __future__ import annotations

import asyncio
import json

import pytest

from zvt_crypto.domain.errors import Disconnected, GeoBlocked, Refused, Throttled, Unreachable
from zvt_crypto.domain.events import TradesDoubted
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.binance import BinanceConnector, BinanceOptions
from zvt_crypto.venues.binance.stream import MALFORMED_MOST
from zvt_crypto.venues.budget import LimitBudget

BTC, ETH = "cryptopair_binance_btcusdt", "cryptopair_binance_ethusdt"
PERP, ETH_PERP = "cryptoperp_binance_btcusdt", "cryptoperp_binance_ethusdt"


class Desk:
    """A connector on a scripted network."""

    def __init__(self, kit, listed, **options) -> None:
        self.transport, self.clock, self.observer = kit.ScriptedTransport(), kit.ManualClock(), kit.ListObserver()
        chosen = BinanceOptions(**options) if options else None
        budget = LimitBudget(self.clock, self.observer)
        self.binance = BinanceConnector(self.transport, self.clock, budget, self.observer, instruments=listed, options=chosen)

    @property
    def socket(self):
        return self.transport.sockets[-1]


@pytest.fixture
def desk(kit, listed) -> Desk:
    return Desk(kit, listed)


def depth(first: int, last: int, symbol: str = "BTCUSDT", **more: object) -> str:
    data = {"e": "depthUpdate", "E": 1723161255208, "s": symbol, "U": first, "u": last, "b": [["10.0", str(last)]], "a": [], **more}
    return json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data}, separators=(",", ":"))


def trade(number: int, symbol: str = "BTCUSDT") -> str:
    data = {"e": "trade", "E": 1723161255343, "s": symbol, "t": number, "p": "1", "q": "1", "T": 1723161255342, "m": True}
    return json.dumps({"stream": f"{symbol.lower()}@trade", "data": data}, separators=(",", ":"))


def snapshot(kit, last_id: int):
    return kit.answer({"lastUpdateId": last_id, "bids": [["9.0", "1"]], "asks": [["11.0", "1"]]})


async def gather(stream, count: int, seconds: float = 5.0) -> list:
    events: list = []
    async with asyncio.timeout(seconds):
        while len(events) < count:
            events += await stream.receive()
    return events


# ── Routes ──


def test_spot_shares_a_socket_and_usdm_is_split_by_host(desk):
    wanted = [
        Subscription(BTC, "trade"),
        Subscription(BTC, "depth"),
        Subscription(PERP, "agg"),
        Subscription(PERP, "depth"),
        Subscription(PERP, "quote"),
        Subscription(PERP, "mark"),
        Subscription(PERP, "kline", Interval.MIN_1),
    ]
    assert [[s.channel for s in route] for route in desk.binance.routes(wanted)] == [
        ["trade", "depth"],
        ["agg", "mark", "kline"],
        ["depth", "quote"],
    ]


def test_no_socket_carries_more_streams_than_the_venue_allows(desk, listed):
    pairs = [i.id for i in listed.of_exchange("binance") if i.id.startswith("cryptopair")]
    routes = desk.binance.routes(Subscription(name, "trade") for name in pairs)
    assert [len(route) for route in routes] == [1024, 1695 - 1024]
    assert {s.instrument for route in routes for s in route} == set(pairs)


def test_a_subscription_given_twice_is_one(desk):
    assert desk.binance.routes([Subscription(BTC, "trade")] * 3) == [(Subscription(BTC, "trade"),)]


async def test_streams_are_named_in_the_url_of_their_host(desk):
    await desk.binance.open_stream([Subscription(BTC, "trade"), Subscription(ETH, "kline", Interval.MONTH_1)])
    assert desk.socket.url == "wss://stream.binance.com:9443/stream?streams=btcusdt@trade/ethusdt@kline_1M"
    await desk.binance.open_stream([Subscription(PERP, "depth")])
    assert desk.socket.url == "wss://fstream.binance.com/public/stream?streams=btcusdt@depth@100ms"
    await desk.binance.open_stream([Subscription(PERP, "agg")])
    assert desk.socket.url == "wss://fstream.binance.com/market/stream?streams=btcusdt@aggTrade"


async def test_many_streams_are_subscribed_by_message_within_the_rate(desk, listed):
    pairs = [i.id for i in listed.of_exchange("binance") if i.id.startswith("cryptopair")][:350]
    await desk.binance.open_stream([Subscription(name, "trade") for name in pairs])
    assert desk.socket.url.count("@trade") == 100
    assert [(m["method"], len(m["params"])) for m in desk.socket.sent] == [("SUBSCRIBE", 100), ("SUBSCRIBE", 100), ("SUBSCRIBE", 50)]
    assert desk.clock.slept == [0.25] * 3


async def test_frames_that_come_between_the_answers_are_kept(desk, listed):
    pairs = [i.id for i in listed.of_exchange("binance") if i.id.startswith("cryptopair")][:150]
    opening = asyncio.create_task(desk.binance.open_stream([Subscription(name, "trade") for name in pairs]))
    await desk.transport.opened()
    desk.socket.push(trade(1))
    stream = await opening
    assert [type(e) for e in await stream.receive()] == [Trade]


async def test_a_refused_subscription_is_refused(desk, listed):
    pairs = [i.id for i in listed.of_exchange("binance") if i.id.startswith("cryptopair")][:150]
    opening = asyncio.create_task(desk.binance.open_stream([Subscription(name, "trade") for name in pairs]))
    await desk.transport.opened()
    desk.socket.answers = False
    desk.socket.push('{"error":{"code":2,"msg":"Invalid request: unknown variant"},"id":1}')
    with pytest.raises(Refused, match="unknown variant"):
        await opening
    assert desk.socket.closed


async def test_a_refused_region_falls_back_to_the_data_host_on_spot_only(desk):
    desk.transport.refuse_connects = [GeoBlocked("HTTP 451")]
    await desk.binance.open_stream([Subscription(BTC, "trade")])
    assert desk.socket.url.startswith("wss://data-stream.binance.vision/stream?")
    assert desk.observer.noted("geo_blocked_fallback")
    desk.transport.refuse_connects = [GeoBlocked("HTTP 451")]
    with pytest.raises(GeoBlocked):
        await desk.binance.open_stream([Subscription(PERP, "agg")])


# ── Books ──


async def test_the_spot_example_of_the_documentation(kit, desk):
    desk.transport.rest["/api/v3/depth"] = [snapshot(kit, 161)]
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(157, 160), depth(161, 163), depth(164, 164))
    events = await gather(stream, 3)
    assert [(type(e), e.last_id) for e in events] == [(BookSnapshot, 161), (BookDelta, 163), (BookDelta, 164)]
    desk.transport.rest["/api/v3/depth"] = [snapshot(kit, 170)]
    desk.socket.push(depth(166, 170))
    (stale,) = await stream.receive()
    assert type(stale) is BookStale
    assert "164" in stale.reason
    desk.socket.push(depth(171, 172))
    assert [(type(e), e.last_id) for e in await gather(stream, 2)] == [(BookSnapshot, 170), (BookDelta, 172)]


async def test_the_usdm_example_of_the_documentation(kit, desk):
    desk.transport.rest["/fapi/v1/depth"] = [snapshot(kit, 500)]
    stream = await desk.binance.open_stream([Subscription(PERP, "depth")])
    desk.socket.push(depth(480, 499, pu=470), depth(499, 505, pu=499), depth(512, 520, pu=505))
    assert [(type(e), e.last_id) for e in await gather(stream, 3)] == [(BookSnapshot, 500), (BookDelta, 505), (BookDelta, 520)]
    desk.transport.rest["/fapi/v1/depth"] = [snapshot(kit, 545)]
    desk.socket.push(depth(530, 540, pu=521))
    assert [type(e) for e in await stream.receive()] == [BookStale]
    desk.socket.push(depth(541, 550, pu=540))
    assert [(type(e), e.last_id) for e in await gather(stream, 2)] == [(BookSnapshot, 545), (BookDelta, 550)]


async def test_a_snapshot_older_than_the_stream_is_fetched_again(kit, desk):
    desk.transport.rest["/api/v3/depth"] = [snapshot(kit, 150), snapshot(kit, 155), snapshot(kit, 158)]
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(157, 160))
    events = await gather(stream, 2)
    assert events[0].last_id == 158
    assert desk.clock.slept == [0.0, 0.25, 0.5]
    assert desk.observer.counted["book_snapshots_asked"] == 3


async def test_recorded_updates_and_their_snapshot_become_one_chain(kit, desk):
    frames = [raw for _, raw in kit.frames_of("spot_book.txt")]
    (taken,) = [raw for raw in frames if raw.startswith(b'{"lastUpdateId"')]
    desk.transport.rest["/api/v3/depth"] = lambda q: kit.answer(taken)
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    deltas = [raw for raw in frames if b"depthUpdate" in raw]
    desk.socket.push(*deltas)
    snapshot_id = json.loads(taken)["lastUpdateId"]
    expected = [u for raw in deltas if (u := json.loads(raw)["data"]["u"]) > snapshot_id]
    events = await gather(stream, 1 + len(expected))
    assert [e.last_id for e in events] == [snapshot_id, *expected]


async def test_a_failed_snapshot_is_asked_for_again_with_growing_pauses(kit, desk):
    answers = [Unreachable("reset"), kit.answer({}, 502), Throttled("x", 1), snapshot(kit, 161)]
    desk.transport.rest["/api/v3/depth"] = answers
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(161, 163))
    stale, *whole = await gather(stream, 3)
    assert (type(stale), "its snapshot cannot be had: " in stale.reason) == (BookStale, True)  # said once
    assert [type(e) for e in whole] == [BookSnapshot, BookDelta]
    assert desk.clock.slept == [0.0, 0.25, 0.5, 1.0]
    assert len(desk.observer.noted("book_snapshot_failed")) == 3


async def test_trades_flow_while_a_snapshot_cannot_be_had(kit, desk):
    desk.transport.rest["/api/v3/depth"] = lambda q: Unreachable("down")
    stream = await desk.binance.open_stream([Subscription(BTC, "depth"), Subscription(BTC, "trade")])
    desk.socket.push(depth(1, 2), trade(7))
    trades = [e for e in await gather(stream, 2) if isinstance(e, Trade)]
    desk.socket.push(depth(3, 4), trade(8))
    assert [e.trade_id for e in [*trades, *await gather(stream, 1)]] == ["7", "8"]
    assert (stream.heard(), stream.heard()) == ({BTC}, set())
    await stream.close()


async def test_a_refused_snapshot_ends_the_stream(kit, desk):
    desk.transport.rest["/api/v3/depth"] = lambda q: kit.answer({"code": -1121, "msg": "Invalid symbol."}, 400)
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(1, 2))
    with pytest.raises(Refused, match="Invalid symbol"):
        await gather(stream, 1)


async def test_a_hundred_broken_books_do_not_ask_all_at_once(kit, desk, listed):
    pairs = [i for i in listed.of_exchange("binance") if i.id.startswith("cryptopair")][:100]
    flying, most = 0, 0

    async def counted(method, url, **_):
        nonlocal flying, most
        flying += 1
        most = max(most, flying)
        await asyncio.sleep(0.001)
        flying -= 1
        return snapshot(kit, 161)

    desk.transport.request = counted
    stream = await desk.binance.open_stream([Subscription(p.id, "depth") for p in pairs])
    desk.socket.push(*[depth(161, 163, p.native_symbol) for p in pairs])
    events = await gather(stream, 200)
    assert {e.instrument for e in events} == {p.id for p in pairs}
    assert most == 4


async def test_a_cancelled_receive_loses_nothing(kit, desk):
    release = asyncio.Event()

    async def slow(method, url, **_):
        await release.wait()
        return snapshot(kit, 161)

    desk.transport.request = slow
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(161, 163))
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stream.receive(), 0.005)
    desk.socket.push(depth(164, 164))
    release.set()
    assert [e.last_id for e in await gather(stream, 3)] == [161, 163, 164]


# ── Broken frames and ends ──


async def synced(kit, desk, *more: Subscription):
    desk.transport.rest["/api/v3/depth"] = lambda q: snapshot(kit, 161)
    stream = await desk.binance.open_stream([Subscription(BTC, "depth"), Subscription(ETH, "depth"), *more])
    desk.socket.push(depth(161, 163), depth(161, 163, "ETHUSDT"))
    await gather(stream, 4)
    return stream


@pytest.mark.parametrize(
    ("frame", "stale"),
    [
        ('{"stream":"btcusdt@depth@100ms","data":{"e":"depthUp', [BTC]),
        (depth(164, 165, b=[["x", "1"]]), [BTC]),
        (depth(1, 9_000_000_000_000_000_000, b=[]), [BTC]),
        ('{"strea', [BTC, ETH]),
        ('{"stream":"btcusdt@trade","data":{"e":"tra', []),
    ],
)
async def test_a_frame_that_cannot_be_read_makes_the_book_stale_that_it_may_belong_to(kit, desk, frame, stale):
    stream = await synced(kit, desk)
    desk.socket.push(frame, trade(1))
    events = await gather(stream, 1)
    assert [e.instrument for e in events if type(e) is BookStale] == stale
    assert desk.observer.counted["venue_malformed"] == 1
    await stream.close()


ABSURD_MS = 7_000_000_000_000  # the year 2191


def kline(open_ms: int, event_ms: int) -> str:
    prices = {"o": "1", "c": "1", "h": "1", "l": "1", "v": "1", "n": 1, "x": False, "q": "1", "V": "1", "Q": "1", "B": "0"}
    k = {"t": open_ms, "T": 0, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 2, **prices}
    data = {"e": "kline", "E": event_ms, "s": "BTCUSDT", "k": k}
    return json.dumps({"stream": "btcusdt@kline_1m", "data": data}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        (kline(ABSURD_MS // 60_000 * 60_000, 1723161255208), "2191-10-27"),
        (kline(99_999_999_960_000, 1723161255208), "99999999960000"),
        (trade(7).replace("1723161255342", str(ABSURD_MS)), "2191-10-27"),
        (trade(7).replace("1723161255342", "99999999960000"), "99999999960000"),
        (depth(164, 164).replace("1723161255208", str(ABSURD_MS)), "2191-10-27"),
    ],
)
async def test_a_time_that_has_not_come_is_refused_and_named(kit, desk, frame, named):
    stream = await synced(kit, desk, Subscription(BTC, "trade"), Subscription(BTC, "kline", Interval.MIN_1))
    desk.socket.push(frame, trade(8))
    before = [BookStale] if "@depth" in frame else [TradesDoubted] if "@trade" in frame else []
    events = await gather(stream, 1 + len(before))
    assert [type(event) for event in events] == [*before, Trade]
    assert events[-1].trade_id == "8"
    (noted,) = desk.observer.noted("venue_malformed")
    assert named in noted["reason"]
    assert desk.observer.counted["venue_malformed"] == 1
    await stream.close()


async def test_a_connection_that_talks_nonsense_is_ended(desk):
    stream = await desk.binance.open_stream([Subscription(BTC, "trade")])
    desk.socket.push(*["<html>"] * (MALFORMED_MOST - 1), trade(1))
    assert [type(event) for event in await stream.receive()] == [*[TradesDoubted] * (MALFORMED_MOST - 1), Trade]
    desk.socket.push("<html>")
    assert [type(event) for event in await stream.receive()] == [TradesDoubted]
    with pytest.raises(Disconnected, match=f"{MALFORMED_MOST} frames could not be read"):
        await stream.receive()


async def test_the_end_is_told_after_everything_before_it_and_every_book_is_stale(kit, desk):
    stream = await synced(kit, desk, Subscription(BTC, "trade"))
    desk.socket.push(trade(1))
    desk.socket.end("reset by peer")
    events = await gather(stream, 3)
    assert [type(e) for e in events] == [Trade, BookStale, BookStale]
    for _ in range(2):
        with pytest.raises(Disconnected, match="reset by peer"):
            await stream.receive()


async def test_a_shutdown_notice_is_a_disconnect_before_the_cut(desk):
    stream = await desk.binance.open_stream([Subscription(BTC, "trade")])
    desk.socket.push(trade(1), '{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770000000000}}')
    assert len(await stream.receive()) == 1
    with pytest.raises(Disconnected, match="announced"):
        await stream.receive()


async def test_an_error_of_the_venue_in_midstream_is_refused(desk):
    stream = await desk.binance.open_stream([Subscription(BTC, "trade")])
    desk.socket.push('{"code":3,"msg":"Invalid JSON"}')
    with pytest.raises(Refused, match="Invalid JSON"):
        await stream.receive()


async def test_drift_is_counted_and_noted_once(desk):
    stream = await desk.binance.open_stream([Subscription(BTC, "trade")])
    desk.socket.push(*[trade(n, "NEWUSDT") for n in range(5)], trade(9))
    assert len(await stream.receive()) == 1
    assert desk.observer.counted["venue_drift"] == 5
    assert len(desk.observer.noted("venue_drift")) == 1


async def test_closing_twice_is_safe_and_ends_a_waiting_fetch(kit, desk):
    desk.transport.rest["/api/v3/depth"] = lambda q: Unreachable("down")
    stream = await desk.binance.open_stream([Subscription(BTC, "depth")])
    desk.socket.push(depth(1, 2))
    with pytest.raises(TimeoutError):
        await gather(stream, 2, 0.01)  # only that the book is stale
    await stream.close()
    await stream.close()
    assert desk.socket.closed
    with pytest.raises(Disconnected):
        await stream.receive()


# ── subscribe_* ──


async def test_subscribed_trades_of_both_markets_come_through_one_iterator(kit, desk):
    trades = desk.binance.subscribe_trades(["BTC/USDT", "BTC/USDT:USDT"])
    first = asyncio.create_task(anext(trades))
    await desk.transport.opened(2)
    spot, usdm = desk.transport.sockets
    spot.push(trade(5))
    assert (await first).trade_id == "5"
    agg = {"e": "aggTrade", "E": 1723161255343, "s": "BTCUSDT", "a": 6, "p": "1", "q": "1", "T": 1723161255342, "m": False}
    usdm.push(json.dumps({"stream": "btcusdt@aggTrade", "data": agg}))
    second = await anext(trades)
    assert (second.trade_id, second.stream, second.instrument) == ("6", "agg", PERP)
    spot.end("gone")
    with pytest.raises(Disconnected, match="gone"):
        await anext(trades)
    assert spot.closed
    assert usdm.closed


async def test_subscribed_klines_are_klines_only(kit, desk):
    klines = desk.binance.subscribe_kdata(["BTCUSDT"], "1m")
    first = asyncio.create_task(anext(klines))
    await desk.transport.opened()
    raws = [raw for _, raw in kit.frames_of("spot_kline.txt") if b"btcusdt" in raw]
    desk.socket.push(trade(1), raws[0])
    assert type(await first) is Kline
    await klines.aclose()
    assert desk.socket.closed


async def test_a_subscribed_book_is_a_verified_chain(kit, desk):
    desk.transport.rest["/api/v3/depth"] = lambda q: snapshot(kit, 161)
    book = desk.binance.subscribe_order_book([BTC])
    first = asyncio.create_task(anext(book))
    await desk.transport.opened()
    desk.socket.push(depth(161, 163))
    assert type(await first) is BookSnapshot
    assert type(await anext(book)) is BookDelta
    await book.aclose()


async def test_the_trade_stream_is_an_option(kit, listed):
    desk = Desk(kit, listed, spot_trade_stream="agg", usdm_trade_stream="trade", depth_speed_ms=0)
    assert (desk.binance.trade_stream(BTC), desk.binance.trade_stream(PERP)) == ("agg", "trade")
    assert (desk.binance.trade_continuity(BTC), desk.binance.trade_continuity(BTC, "trade")) == ("dense", "dense")
    assert (desk.binance.trade_continuity(PERP), desk.binance.trade_continuity(PERP, "agg")) == ("increasing", "dense")
    await desk.binance.open_stream([Subscription(PERP, "depth")])
    assert desk.socket.url.endswith("btcusdt@depth@0ms")
