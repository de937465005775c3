"""The connector by REST: paging, finality, what cannot be had, and wrong calls."""

from __future__ import annotations

from itertools import pairwise

import pytest

from venues.bybit_parts import BTC, DATED, INVERSE, PERP, ROW, listed, spot_body
from zvt_crypto.domain.errors import (
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
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.bybit import BybitConnector, BybitOptions

MINUTE_MS = 60_000
LISTED_MS = 1_723_100_400_000  # a full minute
NOW_MS = LISTED_MS + 2_500 * MINUTE_MS + 30_000
DAY_MS = 86_400_000


class Exchange:
    """A venue of 2,501 minutes, half a minute into its last one. Its clock is 700 ms ahead of ours. Long answers are cut at their old end."""

    def __init__(self, kit) -> None:
        self.kit = kit
        self.transport = kit.ScriptedTransport()
        self.clock = kit.ManualClock((NOW_MS - 700) * 1_000_000)
        self.observer = kit.ListObserver()
        self.budget = LimitBudget(self.clock, self.observer)
        self.first_ms, self.hole = LISTED_MS, range(0)
        self.spread = 1
        rest = self.transport.rest
        rest["/v5/market/time"] = lambda q: self.result({"timeSecond": "0", "timeNano": str(self.clock.ns + 700_000_000)})
        rest["/v5/market/kline"] = self.klines
        rest["/v5/market/mark-price-kline"] = self.prices
        rest["/v5/market/index-price-kline"] = self.prices
        rest["/v5/market/recent-trade"] = self.trades
        rest["/v5/market/funding/history"] = self.funding
        rest["/v5/market/orderbook"] = self.book
        rest["/v5/market/tickers"] = self.tickers
        rest["/v5/market/instruments-info"] = self.instruments

    def connector(self, **options) -> BybitConnector:
        chosen = BybitOptions(**options) if options else None
        return BybitConnector(self.transport, self.clock, self.budget, self.observer, instruments=listed(), options=chosen)

    def result(self, result, code=0):
        told = {"retCode": code, "retMsg": "OK" if not code else "no", "result": result, "retExtInfo": {}}
        return self.kit.answer({**told, "time": self.clock.ns // 10**6 + 700})

    def rows(self, q, row):
        length = {"1": MINUTE_MS, "D": DAY_MS}[q["interval"]]
        first = self.first_ms // length * length
        start, end = int(q.get("start", 0)), int(q.get("end", 10**13))
        fits = [at for at in range(first, NOW_MS, length) if start <= at <= end and at not in self.hole]
        return self.result({"list": [row(at) for at in reversed(fits)][: int(q["limit"])]})

    def klines(self, q):
        return self.rows(q, lambda at: [str(at), "1", "2", "0.5", "1.5", "10", "15"])

    def prices(self, q):
        return self.rows(q, lambda at: [str(at), "1", "2", "0.5", "1.5"])

    def trades(self, q):
        ids = range(5_000 - int(q["limit"]), 5_000)
        row = {"symbol": "BTCUSDT", "price": "1", "size": "2", "side": "Buy", "isRPITrade": False}
        made = [{**row, "execId": f"u-{n}", "time": str(NOW_MS - (5_000 - n) * 100), "isBlockTrade": n == 4_990} for n in ids]
        return self.result({"list": made[::-1]})

    def funding(self, q):
        assert "startTime" not in q, "a start alone is an error at the venue"
        times = [at for at in range(LISTED_MS, NOW_MS + DAY_MS * 200, DAY_MS // 3) if at <= int(q["endTime"])]
        rows = [{"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": str(at)} for at in times]
        return self.result({"list": rows[::-1][: int(q["limit"])]})

    def book(self, q):
        levels = range(1, int(q["limit"]) + 1)
        bids, asks = ([[str(100 - n), "1"] for n in levels if n < 100], [[str(100 + n), "1"] for n in levels])
        return self.result({"s": q["symbol"], "b": bids, "a": asks, "ts": NOW_MS, "u": 77, "seq": 5, "cts": NOW_MS - 20})

    def tickers(self, q):
        row = {"symbol": q["symbol"], "lastPrice": "5", "volume24h": "9", "turnover24h": "40", "bid1Price": "4.9", "ask1Price": "5.1"}
        row |= {"prevPrice24h": "4", "highPrice24h": "6", "lowPrice24h": "3"}
        if q["category"] != "spot":
            row |= {"markPrice": "5.01", "indexPrice": "5.02", "fundingRate": "0.0001", "nextFundingTime": str(NOW_MS + 1)}
        return self.result({"list": [row]})

    def instruments(self, q):
        if q["category"] == "spot":
            return self.kit.answer(spot_body())
        if q["category"] == "inverse" or q["status"] != "Trading":
            return self.result({"list": [], "nextPageCursor": None})
        page = int(q.get("cursor", 0))
        rows = [{**ROW, "symbol": f"QQ{n}USDT", "baseCoin": f"QQ{n}"} for n in range(page * 3, page * 3 + 3)]
        return self.result({"list": rows, "nextPageCursor": str(page + 1) if page < 2 else ""})

    def asked(self, path: str) -> list[dict]:
        return [query for _, where, query in self.transport.asked if where == f"/v5/market/{path}"]


@pytest.fixture
def venue(kit) -> Exchange:
    return Exchange(kit)


@pytest.fixture
def bybit(venue) -> BybitConnector:
    return venue.connector()


# ── Klines ──


async def test_klines_page_from_the_listing_to_now(venue, bybit):
    klines = await bybit.fetch_kdata("BTC/USDT", "1m")
    assert [k.open_ns for k in klines] == [ms * 1_000_000 for ms in range(LISTED_MS, NOW_MS, MINUTE_MS)]
    assert [k.final for k in klines] == [True] * 2500 + [False]
    assert {(k.source, k.trades) for k in klines} == {("venue", None)}
    # One empty window at the beginning of the exchange, two jumps by days, then three that hold something.
    assert len([q for q in venue.asked("kline") if q["interval"] == "D"]) == 2
    assert len([q for q in venue.asked("kline") if q["interval"] == "1"]) == 4
    assert {q["category"] for q in venue.asked("kline")} == {"spot"}


async def test_no_window_holds_more_than_one_answer_can(venue, bybit):
    await bybit.fetch_kdata(PERP, "1m", since=LISTED_MS)
    for q in venue.asked("kline"):
        assert (int(q["end"]) - int(q["start"])) // MINUTE_MS < int(q["limit"]) == 1000
        assert q["category"] == "linear"


async def test_a_range_is_half_open(bybit):
    since, until = LISTED_MS + 5 * MINUTE_MS, LISTED_MS + 8 * MINUTE_MS
    klines = await bybit.fetch_kdata("btcusdt", "1m", since=since, until=until)
    assert [k.open_ns // 10**6 for k in klines] == [since, since + MINUTE_MS, since + 2 * MINUTE_MS]
    assert await bybit.fetch_kdata("btcusdt", "1m", since=until, until=since) == []


async def test_a_limit_keeps_the_first_from_since_and_the_newest_without(venue, bybit):
    first = await bybit.fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1200)
    assert (len(first), first[0].open_ns) == (1200, LISTED_MS * 10**6)
    newest = await bybit.fetch_kdata("btcusdt", "1m", limit=1200)
    assert (len(newest), newest[-1].open_ns) == (1200, (NOW_MS - 30_000) * 10**6)
    assert [b.open_ns - a.open_ns for a, b in pairwise(newest)] == [MINUTE_MS * 10**6] * 1199
    assert len(await bybit.fetch_kdata("btcusdt", "1m", limit=9_999)) == 2501
    (one,) = await bybit.fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1)
    assert one.open_ns == LISTED_MS * 10**6
    assert venue.asked("kline")[-1]["limit"] == "1"


async def test_the_first_kline_after_a_time_long_before_the_listing(venue, bybit):
    (one,) = await bybit.fetch_kdata(BTC, "1m", since="2022-01-01T00:00:00Z", limit=1)
    assert one.open_ns == LISTED_MS * 10**6
    assert len(venue.asked("kline")) < 8


async def test_a_hole_of_days_is_stepped_over(venue, bybit):
    venue.first_ms = LISTED_MS - 30 * DAY_MS
    day = LISTED_MS // DAY_MS * DAY_MS
    venue.hole = range(day - 20 * DAY_MS, day, MINUTE_MS)
    klines = await bybit.fetch_kdata(BTC, "1m", since=day - 21 * DAY_MS, until=day + 10 * MINUTE_MS)
    assert len(klines) == 1440 + 10
    assert len(venue.asked("kline")) == 5  # two windows of the day before, an empty one, the jump, and the one after


async def test_what_trades_no_more_ends_at_its_last_kline(venue, bybit):
    venue.hole = range(LISTED_MS + 10 * MINUTE_MS, NOW_MS, MINUTE_MS)
    venue.transport.rest["/v5/market/kline"] = lambda q: venue.result({"list": []}) if q["interval"] == "D" else venue.klines(q)
    assert len(await bybit.fetch_kdata(BTC, "1m", since=LISTED_MS)) == 10
    assert len(venue.asked("kline")) == 3


async def test_months_fit_into_one_answer(venue, bybit):
    months = [1_719_792_000_000, 1_722_470_400_000]  # July and August 2024
    rows = [[str(at), "1", "2", "0.5", "1.5", "10", "15"] for at in reversed(months)]
    venue.transport.rest["/v5/market/kline"] = [venue.result({"list": rows})]
    klines = await bybit.fetch_kdata(BTC, "1M")
    assert [(k.open_ns // 10**6, k.final) for k in klines] == [(months[0], True), (months[1], False)]


@pytest.mark.parametrize(("into_the_minute_ms", "final"), [(500, False), (999, False), (1_000, True)])
async def test_a_row_is_final_by_the_venues_clock_and_a_second_of_grace(venue, into_the_minute_ms, final):
    venue.clock.ns = (LISTED_MS + MINUTE_MS + into_the_minute_ms - 700) * 1_000_000
    (kline,) = await venue.connector().fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1)
    assert kline.final is final


async def test_our_own_clock_makes_no_kline_final(venue, bybit):
    """Ours runs two hours ahead: the venue's does not, and only that counts."""
    venue.transport.rest["/v5/market/time"] = lambda q: venue.result({"timeNano": str((LISTED_MS + 30_000) * 10**6)})
    (kline,) = await bybit.fetch_kdata("btcusdt", "1m", since=LISTED_MS, limit=1)
    assert kline.final is False


async def test_rows_off_the_grid_are_left_out_and_absurd_ones_are_malformed(venue, bybit):
    row = ["1", "2", "0.5", "1.5", "10", "15"]
    venue.transport.rest["/v5/market/kline"] = [venue.result({"list": [[str(LISTED_MS + n), *row] for n in (MINUTE_MS, 5_000, 0)]})]
    klines = await bybit.fetch_kdata(BTC, "1m", since=LISTED_MS, until=LISTED_MS + 2 * MINUTE_MS)
    assert [k.open_ns // 10**6 - LISTED_MS for k in klines] == [0, MINUTE_MS]
    assert venue.observer.counted["venue_drift"] == 1
    for bad in ([[str(LISTED_MS), "1", "2", "1.2", "1.5", "10", "15"]], [[str(LISTED_MS), *row], [str(LISTED_MS), *row]]):
        venue.transport.rest["/v5/market/kline"] = [venue.result({"list": bad})]
        with pytest.raises(Malformed, match="out of order or has high below low"):
            await bybit.fetch_kdata(BTC, "1m", since=LISTED_MS, limit=2)


# ── Trades ──


async def test_trades_are_the_newest_that_the_venue_gives(venue, bybit):
    spot = await bybit.fetch_trades(BTC)
    linear = await bybit.fetch_trades(PERP)
    assert [int(q["limit"]) for q in venue.asked("recent-trade")] == [60, 1000]
    assert [len(spot), len(linear)] == [59, 999]  # without the block trade, which the stream leaves out too
    assert spot[-1].trade_id == "u-4999"
    assert [t.event_ns for t in linear] == sorted(t.event_ns for t in linear)
    assert venue.observer.counted["venue_drift"] == 2


async def test_trades_of_a_time_are_what_is_still_there(bybit):
    since = NOW_MS - 3_000
    found = await bybit.fetch_trades(PERP, since, until=NOW_MS - 1_500)
    assert [t.trade_id for t in found] == [f"u-{n}" for n in range(4_970, 4_985)]
    assert [t.trade_id for t in await bybit.fetch_trades(PERP, since, limit=2)] == ["u-4970", "u-4971"]
    assert [t.trade_id for t in await bybit.fetch_trades(PERP, limit=2)] == ["u-4998", "u-4999"]
    older = await bybit.fetch_trades(PERP, LISTED_MS)
    assert (len(older), older[0].trade_id) == (999, "u-4000")  # no error: what it still has


async def test_trades_by_id_and_aggregates_do_not_exist(venue, bybit):
    for call in ({"from_id": 5}, {"to_id": 5}, {"stream": "agg"}):
        with pytest.raises(Unsupported, match=BTC):
            await bybit.fetch_trades(BTC, **call)
    assert venue.transport.asked == []
    assert [bybit.trade_continuity(name) for name in (BTC, PERP)] == ["opaque", "opaque"]
    assert bybit.trade_stream(PERP) == "trade"


# ── Funding and marks ──


async def test_funding_is_read_backwards_page_by_page(venue, bybit):
    venue.clock.ns += 150 * DAY_MS * 1_000_000
    rows = await bybit.fetch_funding(PERP)
    assert [b.event_ns - a.event_ns for a, b in pairwise(rows)] == [DAY_MS // 3 * 10**6] * (len(rows) - 1)
    assert (rows[0].event_ns, rows[0].rate, len(rows)) == (LISTED_MS * 10**6, 0.0001, 456)
    assert len(venue.asked("funding/history")) == 3
    since = LISTED_MS + 100 * DAY_MS
    part = await bybit.fetch_funding(PERP, since, since + DAY_MS)
    assert [row.event_ns // 10**6 - since for row in part] == [0, DAY_MS // 3, 2 * DAY_MS // 3]


async def test_a_cut_page_of_funding_that_repeats_itself_ends(venue, bybit):
    """A venue that ignored `endTime` would be asked for ever."""
    row = {"symbol": "BTCUSDT", "fundingRate": "0.0001", "fundingRateTimestamp": str(NOW_MS + 1_000)}
    venue.transport.rest["/v5/market/funding/history"] = lambda q: venue.result({"list": [row] * 200})
    assert len(await bybit.fetch_funding(PERP)) == 200


async def test_marks_are_closed_minutes_at_their_close(venue, bybit):
    since = NOW_MS - 30_000 - 1_300 * MINUTE_MS
    marks = await bybit.fetch_mark_kdata(PERP, since)
    assert [m.event_ns // 10**6 for m in marks] == list(range(since, NOW_MS, MINUTE_MS))
    assert {(m.mark_price, m.index_price, m.funding_rate) for m in marks} == {(1.5, 1.5, None)}
    assert len(venue.asked("mark-price-kline")) == len(venue.asked("index-price-kline")) == 2
    assert (await bybit.fetch_mark_kdata(DATED, since, since + 1))[0].instrument == DATED


# ── Now ──


async def test_ticker_mark_and_book(venue, bybit):
    day = await bybit.fetch_ticker(BTC)
    assert (day.price, day.volume, day.turnover, day.bid, day.high, day.event_ns) == (5.0, 9.0, 40.0, 4.9, 6.0, NOW_MS * 10**6)
    mark = await bybit.fetch_mark(INVERSE)
    assert (mark.mark_price, mark.index_price, mark.funding_rate, mark.next_funding_ns) == (5.01, 5.02, 0.0001, (NOW_MS + 1) * 10**6)
    book = await bybit.get_order_book(PERP, depth=3)
    assert (book.last_id, book.bids, book.event_ns) == (77, [(99.0, 1.0), (98.0, 1.0), (97.0, 1.0)], (NOW_MS - 20) * 10**6)
    assert [q["category"] for q in venue.asked("tickers")] == ["spot", "inverse"]


async def test_what_never_traded_has_no_ticker(venue, bybit):
    venue.transport.rest["/v5/market/tickers"] = [venue.result({"list": []}), venue.result({"list": [{"symbol": "X", "lastPrice": ""}]})]
    for told in ("no ticker", "did not trade yet"):
        with pytest.raises(Refused, match=told):
            await bybit.fetch_ticker(BTC)


async def test_server_time_is_told_in_nanoseconds(bybit):
    assert await bybit.fetch_server_time() == NOW_MS * 10**6


# ── What is listed ──


async def test_instruments_of_all_categories_follow_their_cursor(venue):
    bybit = BybitConnector(venue.transport, venue.clock, venue.budget, venue.observer)
    listed_now = await bybit.fetch_instruments()
    assert len(listed_now) == 557 + 9
    assert bybit.instruments.resolve("QQ8USDT").id == "cryptoperp_bybit_qq8usdt"
    asked = [(q["category"], q.get("status"), q.get("cursor")) for q in venue.asked("instruments-info")]
    assert asked[:4] == [("spot", None, None), ("linear", "Trading", None), ("linear", "Trading", "1"), ("linear", "Trading", "2")]
    assert {status for _, status, _ in asked} == {None, "Trading", "PreLaunch", "Delivering"}
    again = await bybit.fetch_instruments()
    assert [i.id for i in again] == [i.id for i in listed_now]


async def test_a_listing_without_end_is_malformed(venue):
    venue.transport.rest["/v5/market/instruments-info"] = lambda q: venue.result({"list": [ROW], "nextPageCursor": "again"})
    with pytest.raises(Malformed, match="no end"):
        await venue.connector(markets=("linear",)).fetch_instruments()


async def test_only_the_chosen_categories_are_asked_for_and_answered(venue):
    bybit = venue.connector(markets=("spot",))
    await bybit.fetch_instruments()
    assert {q["category"] for q in venue.asked("instruments-info")} == {"spot"}
    with pytest.raises(Unsupported, match="linear"):
        await bybit.fetch_ticker(PERP)


# ── Fates and wrong calls ──


async def test_a_page_that_is_lost_is_asked_for_again(venue, bybit):
    whole = venue.klines
    answers = [Unreachable("cut"), venue.result({}, code=10006), None]

    def sometimes(q):
        found = answers.pop(0) if answers else None
        return found if found is not None else whole(q)

    venue.transport.rest["/v5/market/kline"] = sometimes
    assert len(await bybit.fetch_kdata(BTC, "1m", since=LISTED_MS)) == 2501


async def test_after_too_many_requests_nothing_is_sent_for_ten_minutes(venue, bybit):
    venue.transport.rest["/v5/market/tickers"] = [venue.kit.answer(b"access too frequent", 403)]
    with pytest.raises(Banned):
        await bybit.fetch_ticker(BTC)
    asked = len(venue.transport.asked)
    with pytest.raises(Banned):
        await bybit.get_order_book(BTC)
    assert len(venue.transport.asked) == asked


async def test_a_refused_region_is_told_as_such(venue, bybit):
    venue.transport.rest["/v5/market/tickers"] = [venue.kit.answer(b"configured to block access from your country", 403)]
    with pytest.raises(GeoBlocked, match="other exchanges"):
        await bybit.fetch_ticker(BTC)


async def test_a_throttle_is_sat_out_by_the_budget(venue, bybit):
    venue.transport.rest["/v5/market/tickers"] = [venue.result({}, code=10006), venue.tickers({"symbol": "BTCUSDT", "category": "spot"})]
    with pytest.raises(Throttled):
        await bybit.fetch_ticker(BTC)
    before = venue.clock.ns
    assert (await bybit.fetch_ticker(BTC)).price == 5.0
    assert venue.clock.ns - before >= 10**9


async def test_wrong_calls_are_named_and_nothing_is_asked(venue, bybit):
    for call, error in (
        (bybit.fetch_kdata("nope", "1m"), UnknownSymbol),
        (bybit.fetch_kdata(BTC, "9m"), UnknownInterval),
        (bybit.fetch_kdata(BTC, "1m", limit=0), OutOfRange),
        (bybit.fetch_kdata(BTC, "1m", since="soon"), BadTime),
        (bybit.get_order_book(BTC, 1_001), OutOfRange),
        (bybit.fetch_funding(BTC), Unsupported),
        (bybit.fetch_funding(DATED), Unsupported),
        (bybit.fetch_mark(BTC), Unsupported),
        (bybit.fetch_mark_kdata(BTC), Unsupported),
    ):
        with pytest.raises(error):
            await call
    assert venue.transport.asked == []
    empty = BybitConnector(venue.transport, venue.clock, venue.budget, venue.observer, instruments=Instruments())
    with pytest.raises(UnknownSymbol):
        await empty.fetch_ticker(BTC)
