"""The connector by REST: paging, finality, fates, the region fallback, and wrong calls."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from zvt_crypto.domain.errors import (
    BadInput,
    BadTime,
    Banned,
    GeoBlocked,
    Malformed,
    OutOfRange,
    Refused,
    Throttled,
    UnknownInterval,
    UnknownSymbol,
    Unreachable,
    Unsupported,
)
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.binance import BinanceConnector, BinanceOptions
from zvt_crypto.venues.budget import LimitBudget

BTC, PERP = "cryptopair_binance_btcusdt", "cryptoperp_binance_btcusdt"
MINUTE_MS = 60_000
LISTED_MS = 1_723_100_400_000  # a full minute
NOW_MS = LISTED_MS + 2_500 * MINUTE_MS + 30_000


class Exchange:
    """A venue of 2,501 minutes and 3,500 trades, half a minute into its last minute. Its clock is 700 ms ahead of ours."""

    def __init__(self, kit) -> None:
        self.kit = kit
        self.transport = kit.ScriptedTransport()
        self.clock = kit.ManualClock((NOW_MS - 700) * 1_000_000)
        self.observer = kit.ListObserver()
        self.budget = LimitBudget(self.clock, self.observer)
        rest = self.transport.rest
        for prefix in ("/api/v3", "/fapi/v1"):
            rest[f"{prefix}/time"] = lambda q: kit.answer({"serverTime": self.clock.ns // 10**6 + 700})
            rest[f"{prefix}/klines"] = self.klines
            rest[f"{prefix}/aggTrades"] = self.agg_trades
            rest[f"{prefix}/historicalTrades"] = self.historical
            rest[f"{prefix}/trades"] = self.recent

    def connector(self, listed, **options) -> BinanceConnector:
        chosen = BinanceOptions(**options) if options else None
        return BinanceConnector(self.transport, self.clock, self.budget, self.observer, instruments=listed, options=chosen)

    def klines(self, q):
        opens = range(LISTED_MS, NOW_MS, MINUTE_MS)
        start, end = int(q.get("startTime", 0)), int(q.get("endTime", 10**14))
        fits = [at for at in opens if start <= at <= end]
        limit = int(q["limit"])
        fits = fits[:limit] if "startTime" in q else fits[-limit:]
        return self.kit.answer([[at, "1", "2", "0.5", "1.5", "10", at + 59_999, "15", 3, "5", "7", "0"] for at in fits])

    def agg(self, number):
        # Aggregate n holds the single trades 2n and 2n + 1.
        return {"a": number, "p": "1", "q": "2", "f": 2 * number, "l": 2 * number + 1, "T": LISTED_MS + number * 1000, "m": False}

    def agg_trades(self, q):
        limit = int(q["limit"])
        if "fromId" in q:
            return self.kit.answer([self.agg(n) for n in range(int(q["fromId"]), 3500)][:limit])
        rows = [self.agg(n) for n in range(3500)]
        if "startTime" not in q:
            return self.kit.answer(rows[-limit:])
        end = int(q.get("endTime", 10**14))
        return self.kit.answer([r for r in rows if int(q["startTime"]) <= r["T"] <= end][:limit])

    def single(self, number):
        return {"id": number, "price": "1", "qty": "1", "time": LISTED_MS + number // 2 * 1000, "isBuyerMaker": True}

    def historical(self, q):
        return self.kit.answer([self.single(n) for n in range(int(q["fromId"]), 7000)][: int(q["limit"])])

    def recent(self, q):
        return self.kit.answer([self.single(n) for n in range(7000 - int(q["limit"]), 7000)])

    def asked(self, path: str) -> list[dict]:
        return [query for _, where, query in self.transport.asked if where == path]


@pytest.fixture
def venue(kit) -> Exchange:
    return Exchange(kit)


@pytest.fixture
def binance(venue, listed) -> BinanceConnector:
    return venue.connector(listed)


async def test_klines_page_from_the_listing_to_now(venue, binance):
    klines = await binance.fetch_kdata("BTC/USDT", "1m")
    assert [k.open_ns for k in klines] == [ms * 1_000_000 for ms in range(LISTED_MS, NOW_MS, MINUTE_MS)]
    assert [int(q["limit"]) for q in venue.asked("/api/v3/klines")] == [1000, 1000, 1000]
    assert [k.final for k in klines] == [True] * 2500 + [False]
    assert {k.source for k in klines} == {"venue"}


async def test_usdm_pages_are_larger(venue, binance):
    assert len(await binance.fetch_kdata("BTC/USDT:USDT", "1m")) == 2501
    assert [int(q["limit"]) for q in venue.asked("/fapi/v1/klines")] == [1500, 1500]


async def test_a_range_is_half_open(binance):
    since, until = LISTED_MS + 5 * MINUTE_MS, LISTED_MS + 8 * MINUTE_MS
    klines = await binance.fetch_kdata("btcusdt", "1m", since=since, until=until)
    assert [k.open_ns // 10**6 for k in klines] == [since, since + MINUTE_MS, since + 2 * MINUTE_MS]
    assert await binance.fetch_kdata("btcusdt", "1m", since=until, until=since) == []


async def test_a_limit_keeps_the_first_from_since_and_the_newest_without(binance):
    first = await binance.fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1200)
    assert (len(first), first[0].open_ns) == (1200, LISTED_MS * 10**6)
    newest = await binance.fetch_kdata("btcusdt", "1m", limit=1200)
    assert (len(newest), newest[-1].open_ns) == (1200, (NOW_MS - 30_000) * 10**6)
    assert [b.open_ns - a.open_ns for a, b in pairwise(newest)] == [MINUTE_MS * 10**6] * 1199
    everything = await binance.fetch_kdata("btcusdt", "1m", limit=9_999)
    assert len(everything) == 2501


@pytest.mark.parametrize(("into_the_minute_ms", "final"), [(500, False), (999, False), (1_000, True)])
async def test_a_row_is_final_by_the_venues_clock_and_a_second_of_grace(venue, listed, into_the_minute_ms, final):
    close_ms = LISTED_MS + MINUTE_MS
    venue.clock.ns = (close_ms + into_the_minute_ms - 700) * 1_000_000
    (kline,) = await venue.connector(listed).fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1)
    assert kline.final is final


async def test_our_own_clock_makes_no_kline_final(venue, listed):
    """Ours runs two hours ahead: the venue's does not, and only that counts."""
    venue.transport.rest["/api/v3/time"] = lambda q: venue.kit.answer({"serverTime": LISTED_MS + 30_000})
    (kline,) = await venue.connector(listed).fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1)
    assert kline.final is False


async def test_the_venues_clock_is_asked_once_in_five_minutes(venue, binance):
    for _ in range(3):
        await binance.fetch_kdata("btcusdt", "1m", limit=1)
    assert len(venue.asked("/api/v3/time")) == 1
    venue.clock.ns += 301 * 10**9
    await binance.fetch_kdata("btcusdt", "1m", limit=1)
    assert len(venue.asked("/api/v3/time")) == 2
    assert venue.observer.gauges["venue_clock_offset_seconds"] == pytest.approx(0.7)


async def test_trades_by_id_are_inclusive_and_paged(venue, binance):
    trades = await binance.fetch_trades("btcusdt", from_id=10, to_id=2_509)
    assert [int(t.trade_id) for t in trades] == list(range(10, 2_510))
    assert {t.stream for t in trades} == {"trade"}
    assert [int(q["fromId"]) for q in venue.asked("/api/v3/historicalTrades")] == [10, 1010, 2010]


async def test_single_trades_by_time_begin_at_the_first_id_of_an_aggregate(binance):
    trades = await binance.fetch_trades("btcusdt", LISTED_MS + 100_000, until=LISTED_MS + 102_000)
    assert [int(t.trade_id) for t in trades] == [200, 201, 202, 203]


async def test_aggregates_by_time_cross_empty_hours_on_usdm(venue, binance):
    start = LISTED_MS - 3 * 3_600_000
    trades = await binance.fetch_trades("BTC/USDT:USDT", start, limit=2)
    assert [(t.trade_id, t.stream) for t in trades] == [("0", "agg"), ("1", "agg")]
    by_time = [q for q in venue.asked("/fapi/v1/aggTrades") if "startTime" in q]
    assert all(int(q["endTime"]) - int(q["startTime"]) < 3_600_000 for q in by_time)
    assert len(by_time) == 4


async def test_no_trades_after_the_newest(binance):
    assert await binance.fetch_trades("btcusdt", NOW_MS + 10) == []
    assert await binance.fetch_trades("BTC/USDT:USDT", NOW_MS - 1_000) == []


async def test_the_newest_trades_without_a_beginning(binance):
    newest = await binance.fetch_trades("btcusdt", limit=1500)
    assert [int(t.trade_id) for t in newest] == list(range(5500, 7000))
    aggregates = await binance.fetch_trades("btcusdt", stream="agg", limit=3)
    assert [t.trade_id for t in aggregates] == ["3497", "3498", "3499"]
    ending = await binance.fetch_trades("btcusdt", to_id=99, limit=2)
    assert [t.trade_id for t in ending] == ["98", "99"]


async def test_an_empty_venue_has_no_trades(venue, binance):
    venue.transport.rest["/api/v3/trades"] = lambda q: venue.kit.answer([])
    assert await binance.fetch_trades("btcusdt") == []


async def test_funding_is_paged(venue, binance):
    rows = [{"symbol": "BTCUSDT", "fundingTime": 1_600_000_000_000 + n * 28_800_000, "fundingRate": "0.0001"} for n in range(1_500)]
    venue.transport.rest["/fapi/v1/fundingRate"] = lambda q: venue.kit.answer(
        [r for r in rows if int(q["startTime"]) <= r["fundingTime"] <= int(q.get("endTime", 10**14))][: int(q["limit"])]
    )
    funding = await binance.fetch_funding(PERP)
    assert [f.event_ns // 10**6 for f in funding] == [r["fundingTime"] for r in rows]
    two = await binance.fetch_funding(PERP, since=1_600_000_000_001, until=1_600_000_000_000 + 3 * 28_800_000)
    assert len(two) == 2


async def test_mark_and_index_minutes_stand_at_their_close_and_only_closed_ones(venue, binance):
    def minutes(q):
        opens = [at for at in range(LISTED_MS, NOW_MS, MINUTE_MS) if int(q["startTime"]) <= at <= int(q.get("endTime", 10**14))]
        price = "100.5" if "symbol" in q else "100.4"
        return venue.kit.answer([[at, "1", "1", "1", price, "0", at + 59_999, "0", 60, "0", "0", "0"] for at in opens][: int(q["limit"])])

    venue.transport.rest["/fapi/v1/markPriceKlines"] = minutes
    venue.transport.rest["/fapi/v1/indexPriceKlines"] = minutes
    marks = await binance.fetch_mark_kdata(PERP)
    assert [m.event_ns // 10**6 for m in marks] == [LISTED_MS + n * MINUTE_MS for n in range(1, 2501)]
    assert {(m.mark_price, m.index_price) for m in marks} == {(100.5, 100.4)}
    part = await binance.fetch_mark_kdata(PERP, since=LISTED_MS + MINUTE_MS, until=LISTED_MS + 3 * MINUTE_MS)
    assert [m.event_ns // 10**6 for m in part] == [LISTED_MS + MINUTE_MS, LISTED_MS + 2 * MINUTE_MS]
    assert {q["pair"] for q in venue.asked("/fapi/v1/indexPriceKlines")} == {"BTCUSDT"}


async def test_mark_ticker_and_book_now(kit, venue, binance):
    premium = {"symbol": "BTCUSDT", "markPrice": "11793.6", "indexPrice": "11781.8", "lastFundingRate": "0.0003", "time": NOW_MS}
    venue.transport.rest["/fapi/v1/premiumIndex"] = lambda q: kit.answer({**premium, "nextFundingTime": NOW_MS + 5})
    mark = await binance.fetch_mark(PERP)
    assert (mark.mark_price, mark.index_price, mark.funding_rate, mark.next_funding_ns) == (11793.6, 11781.8, 0.0003, (NOW_MS + 5) * 10**6)

    day = {"symbol": "BTCUSDT", "lastPrice": "5", "openPrice": "4", "highPrice": "6", "lowPrice": "3", "volume": "9"}
    venue.transport.rest["/api/v3/ticker/24hr"] = lambda q: kit.answer({**day, "quoteVolume": "40", "closeTime": NOW_MS})
    ticker = await binance.fetch_ticker(BTC)
    assert (ticker.price, ticker.turnover, ticker.bid) == (5.0, 40.0, None)

    body = (kit.frames_dir / "spot_depth.json").read_bytes()
    venue.transport.rest["/api/v3/depth"] = lambda q: kit.answer(body)
    book = await binance.get_order_book(BTC, depth=3)
    assert [len(book.bids), len(book.asks)] == [3, 3]
    assert book.last_id == json.loads(body)["lastUpdateId"]
    assert book.bids == [(float(p), float(q)) for p, q in json.loads(body)["bids"][:3]]


async def test_instruments_of_both_markets_and_the_stated_limits(kit, venue):
    venue.transport.rest["/api/v3/exchangeInfo"] = lambda q: kit.answer(kit.exchange_info_of("spot"))
    venue.transport.rest["/fapi/v1/exchangeInfo"] = lambda q: kit.answer(kit.exchange_info_of("usdm"))
    binance = venue.connector(Instruments())
    listed = await binance.fetch_instruments()
    assert len(listed) == len(binance.instruments) == 1695 + 121
    again = await binance.fetch_instruments()
    assert [i.id for i in again] == [i.id for i in listed]
    assert venue.observer.counted["venue_drift"] == 2  # BTCSTUSDT, once each time
    await venue.budget.acquire("binance.spot.weight", 1_000, "backfill")
    assert venue.clock.slept == []
    await venue.budget.acquire("binance.spot.weight", 60, "backfill")  # the recorded limit was 1200: nine tenths are spent
    assert len(venue.clock.slept) == 1


async def test_what_is_not_listed_any_more_stays_known(kit, venue, listed):
    info = {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT"}]}
    venue.transport.rest["/api/v3/exchangeInfo"] = lambda q: kit.answer(info)
    binance = venue.connector(listed, markets=("spot",))
    assert [i.id for i in await binance.fetch_instruments()] == [BTC]
    assert len(binance.instruments) == len(listed)


# ── Fates ──


async def test_server_time(binance):
    assert await binance.fetch_server_time() == NOW_MS * 10**6


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [(400, {"code": -1121, "msg": "Invalid symbol."}, Refused), (429, {}, Throttled), (418, {}, Banned), (502, {}, Unreachable)],
)
async def test_a_single_read_tells_its_fate_at_once(kit, venue, binance, status, body, kind):
    venue.transport.rest["/api/v3/ticker/24hr"] = lambda q: kit.answer(body, status)
    with pytest.raises(kind):
        await binance.fetch_ticker(BTC)
    assert len(venue.transport.asked) == 1


async def test_a_page_survives_a_lost_answer_and_a_short_wait(kit, venue, binance):
    real = venue.klines
    troubles = [Unreachable("reset"), kit.answer({}, 429, Retry_After="3"), None]
    venue.transport.rest["/api/v3/klines"] = lambda q: (troubles.pop(0) if troubles else None) or real(q)
    assert len(await binance.fetch_kdata(BTC, "1m")) == 2501
    assert venue.clock.slept == [1.0, 3.0]


async def test_a_page_gives_up_after_three_tries(kit, venue, binance):
    venue.transport.rest["/api/v3/klines"] = lambda q: kit.answer(b"<html>", 502)
    with pytest.raises(Unreachable):
        await binance.fetch_kdata(BTC, "1m")
    assert len(venue.asked("/api/v3/klines")) == 3


async def test_a_ban_stops_reads_and_connections(kit, venue, binance):
    venue.transport.rest["/api/v3/klines"] = lambda q: kit.answer({}, 418, Retry_After="3600")
    with pytest.raises(Banned):
        await binance.fetch_kdata(BTC, "1m")
    with pytest.raises(Banned):
        await binance.fetch_ticker(BTC)
    with pytest.raises(Banned):
        await binance.open_stream([Subscription(BTC, "trade")])
    assert len(venue.asked("/api/v3/klines")) == 1
    assert venue.transport.sockets == []


async def test_the_venues_own_weight_count_is_believed(kit, venue, binance):
    venue.transport.rest["/api/v3/klines"] = lambda q: kit.answer([], X_MBX_USED_WEIGHT_1M="4321")
    await binance.fetch_kdata(BTC, "1m", limit=1)
    assert venue.budget.used("binance.spot.weight") == 4321


async def test_a_count_that_crossed_the_minute_is_not_believed(kit, venue, binance):
    def late(q):
        venue.clock.ns += 60 * 10**9
        return kit.answer([], X_MBX_USED_WEIGHT_1M="4321")

    venue.transport.rest["/api/v3/klines"] = late
    await binance.fetch_kdata(BTC, "1m", limit=1)
    assert venue.budget.used("binance.spot.weight") < 100


async def test_a_refused_region_is_served_by_the_public_data_host(kit, venue, binance):
    day = {"symbol": "BTCUSDT", "lastPrice": "5", "openPrice": "4", "highPrice": "6", "lowPrice": "3", "volume": "9"}
    answers = [
        kit.answer({"code": 0, "msg": "restricted location"}, 451),
        *[kit.answer({**day, "quoteVolume": "4", "closeTime": NOW_MS})] * 2,
    ]
    venue.transport.rest["/api/v3/ticker/24hr"] = answers
    assert (await binance.fetch_ticker(BTC)).price == 5.0
    await binance.fetch_ticker(BTC)
    assert [host for host, *_ in venue.transport.asked] == ["api.binance.com", "data-api.binance.vision", "data-api.binance.vision"]
    (note,) = venue.observer.noted("geo_blocked_fallback")
    assert note["host"] == "https://data-api.binance.vision"


async def test_usdm_has_no_other_host_and_says_what_still_works(kit, venue, binance):
    venue.transport.rest["/fapi/v1/ticker/24hr"] = lambda q: kit.answer(b"", 451)
    with pytest.raises(GeoBlocked, match=r"data-api\.binance\.vision, USD-M is not"):
        await binance.fetch_ticker(PERP)
    assert len(venue.transport.asked) == 1


async def test_a_blocked_market_does_not_hide_the_other(kit, venue):
    venue.transport.rest["/api/v3/exchangeInfo"] = lambda q: kit.answer(kit.exchange_info_of("spot"))
    venue.transport.rest["/fapi/v1/exchangeInfo"] = lambda q: kit.answer(b"", 451)
    assert len(await venue.connector(Instruments()).fetch_instruments()) == 1695
    assert venue.observer.noted("geo_blocked")[0]["market"] == "usdm"
    venue.transport.rest["/api/v3/exchangeInfo"] = lambda q: kit.answer(b"", 451)
    with pytest.raises(GeoBlocked):
        await venue.connector(Instruments()).fetch_instruments()


async def test_a_market_that_lists_nothing_does_not_hide_the_other_and_two_are_refused(kit, venue, listed):
    spot, usdm = "/api/v3/exchangeInfo", "/fapi/v1/exchangeInfo"
    venue.transport.rest[spot] = lambda q: kit.answer(kit.exchange_info_of("spot"))
    venue.transport.rest[usdm] = lambda q: kit.answer({"symbols": []})
    binance = venue.connector(listed)
    assert len(await binance.fetch_instruments()) == 1695
    assert PERP in binance.instruments  # it was known, and stays
    assert venue.observer.noted("lists_nothing")[0]["market"] == "usdm"
    venue.transport.rest[spot], venue.transport.rest[usdm] = venue.transport.rest[usdm], lambda q: kit.answer(kit.exchange_info_of("usdm"))
    assert len(await venue.connector(Instruments()).fetch_instruments()) == 121
    venue.transport.rest[usdm] = venue.transport.rest[spot]
    with pytest.raises(Malformed, match="spot and usdm exchangeInfo lists no symbol"):
        await venue.connector(listed).fetch_instruments()
    venue.transport.rest[usdm] = lambda q: kit.answer(b"", 451)
    with pytest.raises(GeoBlocked):
        await venue.connector(listed).fetch_instruments()


# ── Wrong calls ──


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda b: b.fetch_kdata("NOPE", "1m"), UnknownSymbol),
        (lambda b: b.fetch_kdata(BTC, "7m"), UnknownInterval),
        (lambda b: b.fetch_kdata(BTC, "1m", limit=0), OutOfRange),
        (lambda b: b.fetch_kdata(BTC, "1m", since="yesterday"), BadTime),
        (lambda b: b.fetch_trades(BTC, from_id=-1), OutOfRange),
        (lambda b: b.get_order_book(BTC, 5001), OutOfRange),
        (lambda b: b.get_order_book(PERP, 1001), OutOfRange),
        (lambda b: b.fetch_mark(BTC), Unsupported),
        (lambda b: b.fetch_mark_kdata(BTC), Unsupported),
        (lambda b: b.fetch_funding(BTC), Unsupported),
        (lambda b: b.fetch_funding("cryptofuture_binance_btcusdt_210924"), Unsupported),
        (lambda b: b.open_stream([]), BadInput),
        (lambda b: b.open_stream([Subscription(BTC, "trade"), Subscription(PERP, "agg")]), BadInput),
        (lambda b: b.open_stream([Subscription(BTC, "kline")]), BadInput),
        (lambda b: b.open_stream([Subscription(BTC, "mark")]), Unsupported),
    ],
)
async def test_wrong_calls_are_named_and_ask_nothing(venue, binance, call, error):
    with pytest.raises(error):
        await call(binance)
    assert venue.transport.asked == []


async def test_one_name_is_no_list_of_names(binance):
    with pytest.raises(BadInput, match="sequence"):
        binance.subscribe_trades("BTCUSDT")


async def test_a_market_that_was_not_chosen_is_refused(venue, listed):
    with pytest.raises(Unsupported, match="usdm"):
        await venue.connector(listed, markets=("spot",)).fetch_ticker(PERP)
