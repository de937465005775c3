"""OKX's connector by REST: reading forward through backward pages, holes and what the venue forgot, fates, wrong calls."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zvt_crypto.domain.errors import BadInput, Banned, Malformed, OutOfRange, Refused, Throttled, UnknownSymbol, Unreachable, Unsupported
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, Interval
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.okx import OkxConnector, OkxOptions
from zvt_crypto.venues.okx.pages import read_backward, read_forward

BTC, PERP, DATED = "cryptopair_okx_btcusdt", "cryptoperp_okx_btcusdt", "cryptofuture_okx_btcusdt_220930"
MINUTE_MS = 60_000
FIRST_MS = 1_723_100_400_000  # a full minute
MINUTES = 3_000
NOW_MS = FIRST_MS + MINUTES * MINUTE_MS + 30_000
HOLE = range(1_000, 1_250)  # minutes that the venue does not have
FORGOTTEN = 400  # trades that it has no more
TRADES = 3_500


class Exchange:
    """A venue of 3,001 minutes but for a hole, and 3,500 trades, one every 50 s, of which the oldest are forgotten."""

    def __init__(self, kit) -> None:
        self.kit, self.transport, self.clock, self.observer = (
            kit,
            kit.ScriptedTransport(),
            kit.ManualClock(NOW_MS * NS_PER_MS),
            kit.ListObserver(),
        )
        self.budget = LimitBudget(self.clock, self.observer)
        self.opens = [FIRST_MS + n * MINUTE_MS for n in range(MINUTES + 1) if n not in HOLE]
        self.ids = range(FORGOTTEN, TRADES)
        rest = {
            "public/time": lambda q: self.rows({"ts": str(self.clock.ns // NS_PER_MS)}),
            "market/candles": lambda q: self.candles(q, recent=True),
            "market/history-candles": lambda q: self.candles(q, recent=False),
            "market/mark-price-candles": lambda q: self.prices(q, recent=True),
            "market/history-mark-price-candles": lambda q: self.prices(q, recent=False),
            "market/index-candles": lambda q: self.prices(q, recent=True),
            "market/history-index-candles": lambda q: self.prices(q, recent=False),
            "market/history-trades": self.trades,
            "public/funding-rate-history": self.funding,
        }
        self.transport.rest |= {f"/api/v5/{path}": answer for path, answer in rest.items()}

    def rows(self, *rows: object):
        return self.kit.answer({"code": "0", "msg": "", "data": rows})

    def connector(self, listed, **options) -> OkxConnector:
        chosen = OkxOptions(**options) if options else None
        return OkxConnector(self.transport, self.clock, self.budget, self.observer, instruments=listed, options=chosen)

    def before(self, q, opens: list[int], *, recent: bool, most: int) -> list[int]:
        kept = [at for at in opens if not recent or at > NOW_MS - 1_440 * MINUTE_MS]
        assert int(q["limit"]) <= most
        return [at for at in kept if at < int(q["after"])][::-1][: int(q["limit"])]

    def candles(self, q, *, recent: bool):
        opens = self.before(q, self.opens, recent=recent, most=300 if recent else 100)
        return self.rows(*([str(at), "1", "2", "0.5", "1.5", "1000", "10", "15", str(int(at + MINUTE_MS <= NOW_MS))] for at in opens))

    def prices(self, q, *, recent: bool):
        price = "5" if q["instId"] == "BTC-USDT" else "6"
        opens = self.before(q, self.opens, recent=recent, most=100)
        return self.rows(*([str(at), price, price, price, price, str(int(at + MINUTE_MS <= NOW_MS))] for at in opens))

    def trades(self, q):
        if q["type"] == "2":
            fits = [n for n in self.ids if FIRST_MS + n * 50_000 < int(q["after"])]
        else:
            fits = [n for n in self.ids if n < int(q.get("after", 10**18))]
        newest = fits[::-1][: int(q["limit"])]
        return self.rows(*({"tradeId": str(n), "px": "1", "sz": "2", "side": "buy", "ts": str(FIRST_MS + n * 50_000)} for n in newest))

    def funding(self, q):
        times = [FIRST_MS + n * 8 * 3_600_000 for n in range(250)]
        fits = [at for at in times if at < int(q.get("after", 10**18))][::-1][: int(q["limit"])]
        return self.rows(*({"fundingRate": "0.0001", "realizedRate": "0.0002", "fundingTime": str(at)} for at in fits))

    def asked(self, path: str) -> list[dict]:
        return [query for _, where, query in self.transport.asked if where == f"/api/v5/{path}"]


@pytest.fixture
def venue(kit) -> Exchange:
    return Exchange(kit)


@pytest.fixture
def connector(venue, okx) -> OkxConnector:
    return venue.connector(okx.listed)


def opens_of(klines) -> list[int]:
    return [kline.open_ns // NS_PER_MS for kline in klines]


# ── Reading forward where a venue pages backward ──


class Sparse:
    """Rows at some positions, seven a page."""

    def __init__(self, positions: set[int]) -> None:
        self.all, self.asked = sorted(positions), 0

    async def before(self, end: int, most: int) -> list[int]:
        assert most <= 7
        self.asked += 1
        return [one for one in self.all if one < end][-most:]

    def position(self, row: int) -> int:
        return row

    def window(self, start: int, most: int) -> tuple[int, int]:
        rows = min(most, 7)
        # Windows do not reach over 5,000, as those of klines do not reach from old ones into recent ones.
        return (min(start + rows, 5_000) if start < 5_000 else start + rows), rows


positions = st.sets(st.one_of(st.integers(0, 60), st.integers(4_980, 5_020), st.integers(0, 10_000)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(positions, st.integers(0, 10_000), st.integers(0, 10_000), st.integers(1, 80))
async def test_reads_forward_whatever_is_missing(rows, start, end, most):
    pages = Sparse(rows)
    found = await read_forward(pages, start, end, most, lambda row: row % 5 != 0)
    assert found == [row for row in sorted(rows) if start <= row < end and row % 5 != 0][:most]
    # A hole costs a search, not a walk: 10,000 positions are halved some 14 times.
    assert pages.asked <= 3 + 18 * (len(rows) + 1)


@settings(max_examples=100, deadline=None)
@given(positions, st.integers(0, 10_000), st.integers(1, 80))
async def test_reads_backward(rows, end, most):
    found = await read_backward(Sparse(rows), end, most, 7, lambda row: row % 5 != 0)
    assert found == [row for row in sorted(rows) if row < end and row % 5 != 0][-most:]


# ── Klines ──


async def test_klines_since_ever_cross_the_hole_and_end_with_the_forming_one(venue, connector):
    klines = await connector.fetch_kdata(BTC, "1m")
    assert opens_of(klines) == venue.opens
    assert [kline.final for kline in klines] == [True] * (len(klines) - 1) + [False]
    jumps = [b - a for a, b in pairwise(opens_of(klines)) if b - a != MINUTE_MS]
    assert jumps == [251 * MINUTE_MS]


async def test_recent_klines_come_in_large_pages_and_old_ones_in_small_ones(venue, connector):
    await connector.fetch_kdata(BTC, "1m", since=FIRST_MS)
    assert {query["limit"] for query in venue.asked("market/history-candles")} == {"100", "1"}  # 1: the search in the hole
    assert {query["limit"] for query in venue.asked("market/candles")} <= {"300", "1"}
    assert all(int(query["after"]) > NOW_MS - 1_440 * MINUTE_MS for query in venue.asked("market/candles"))


async def test_a_range_is_half_open_and_a_limit_keeps_its_first(venue, connector):
    since, until = venue.opens[500], venue.opens[700]
    assert opens_of(await connector.fetch_kdata(BTC, "1m", since=since, until=until)) == venue.opens[500:700]
    assert opens_of(await connector.fetch_kdata(BTC, "1m", since=since + 1, until=until + 1)) == venue.opens[501:701]
    assert opens_of(await connector.fetch_kdata(BTC, "1m", since=since, limit=150)) == venue.opens[500:650]
    venue.transport.asked.clear()
    assert opens_of(await connector.fetch_kdata(BTC, "1m", since=venue.opens[-5], limit=1)) == [venue.opens[-5]]
    assert [query["limit"] for query in venue.asked("market/candles")] == ["1"]


async def test_without_a_beginning_a_limit_keeps_the_newest(venue, connector):
    assert opens_of(await connector.fetch_kdata(BTC, "1m", limit=2_000)) == venue.opens[-2_000:]
    assert opens_of(await connector.fetch_kdata(BTC, "1m", until=venue.opens[900], limit=50)) == venue.opens[850:900]
    assert opens_of(await connector.fetch_kdata(BTC, "1m", until=venue.opens[30], limit=50)) == venue.opens[:30]


async def test_no_klines_before_the_first_or_after_the_newest(venue, connector):
    assert await connector.fetch_kdata(BTC, "1m", since="2015-01-01T00:00:00Z", until=FIRST_MS) == []
    assert await connector.fetch_kdata(BTC, "1m", since=NOW_MS + 5 * MINUTE_MS) == []
    assert await connector.fetch_kdata(BTC, "1m", since=venue.opens[1_000] - 3 * MINUTE_MS, until=venue.opens[1_000]) == []


async def test_contracts_have_the_base_volume_of_the_venue(connector):
    (kline,) = await connector.fetch_kdata(PERP, "1m", since=FIRST_MS, limit=1)
    assert (kline.volume, kline.turnover, kline.source) == (10.0, 15.0, "venue")


async def test_months_are_calendar_pages(kit, venue, connector):
    months = [1_717_200_000_000, 1_719_792_000_000, 1_722_470_400_000]  # June to August 2024

    def candles(q):
        assert q["bar"] == "1Mutc"
        fits = [at for at in months if at < int(q["after"])][::-1][: int(q["limit"])]
        return venue.rows(*([str(at), "1", "2", "0.5", "1.5", "1", "10", "15", str(int(at < months[-1]))] for at in fits))

    venue.transport.rest["/api/v5/market/candles"] = candles
    klines = await connector.fetch_kdata(BTC, "1M", since="2024-05-15T00:00:00Z")
    assert opens_of(klines) == months
    assert [kline.final for kline in klines] == [True, True, False]


# ── Trades ──


def ids_of(trades) -> list[int]:
    return [int(trade.trade_id) for trade in trades]


async def test_trades_by_id_are_inclusive_and_paged(venue, connector):
    trades = await connector.fetch_trades(BTC, from_id=1_000, to_id=1_250)
    assert ids_of(trades) == list(range(1_000, 1_251))
    assert [query["after"] for query in venue.asked("market/history-trades")] == ["1100", "1200", "1251"]


async def test_trades_of_one_id_need_one_call(venue, connector):
    assert ids_of(await connector.fetch_trades(BTC, from_id=1_000, to_id=1_000, limit=5)) == [1_000]
    assert len(venue.asked("market/history-trades")) == 1


async def test_trades_from_an_id_on_reach_the_newest(connector):
    assert ids_of(await connector.fetch_trades(BTC, from_id=3_300)) == list(range(3_300, TRADES))
    assert ids_of(await connector.fetch_trades(BTC, from_id=3_300, limit=120)) == list(range(3_300, 3_420))
    assert await connector.fetch_trades(BTC, from_id=TRADES) == []


async def test_what_the_venue_forgot_is_no_error(venue, connector):
    assert ids_of(await connector.fetch_trades(BTC, from_id=0, limit=10)) == list(range(FORGOTTEN, FORGOTTEN + 10))
    assert ids_of(await connector.fetch_trades(BTC, "2020-01-01T00:00:00Z", limit=10)) == list(range(FORGOTTEN, FORGOTTEN + 10))
    assert await connector.fetch_trades(BTC, from_id=10, to_id=FORGOTTEN - 1) == []
    assert len(venue.asked("market/history-trades")) < 60  # searched, not walked


async def test_trades_by_time_are_a_half_open_range(connector):
    since, until = FIRST_MS + 1_000 * 50_000, FIRST_MS + 1_300 * 50_000
    assert ids_of(await connector.fetch_trades(BTC, since, until=until)) == list(range(1_000, 1_300))
    assert ids_of(await connector.fetch_trades(BTC, since + 1, until=until + 1)) == list(range(1_001, 1_301))
    assert ids_of(await connector.fetch_trades(BTC, since, until=until, limit=7)) == list(range(1_000, 1_007))
    assert ids_of(await connector.fetch_trades(BTC, FIRST_MS + 3_495 * 50_000)) == list(range(3_495, 3_500))
    assert await connector.fetch_trades(BTC, NOW_MS + MINUTE_MS) == []


async def test_whether_the_venue_includes_the_named_time_does_not_matter(venue, connector):
    def including(q):
        if q["type"] != "2":
            return Exchange.trades(venue, q)
        return Exchange.trades(venue, {**q, "after": str(int(q["after"]) + 1)})

    venue.transport.rest["/api/v5/market/history-trades"] = including
    since, until = FIRST_MS + 1_000 * 50_000, FIRST_MS + 1_300 * 50_000
    assert ids_of(await connector.fetch_trades(BTC, since, until=until)) == list(range(1_000, 1_300))


async def test_the_newest_trades_without_a_beginning(connector):
    assert ids_of(await connector.fetch_trades(BTC)) == list(range(TRADES - 500, TRADES))
    assert ids_of(await connector.fetch_trades(BTC, limit=130)) == list(range(TRADES - 130, TRADES))
    assert ids_of(await connector.fetch_trades(BTC, to_id=2_000, limit=3)) == [1_998, 1_999, 2_000]
    assert ids_of(await connector.fetch_trades(BTC, until=FIRST_MS + 2_000 * 50_000, limit=3)) == [1_997, 1_998, 1_999]


async def test_an_instrument_without_trades_has_none(venue, connector):
    venue.ids = range(0)
    assert await connector.fetch_trades(BTC) == []
    assert await connector.fetch_trades(BTC, FIRST_MS) == []
    assert await connector.fetch_trades(BTC, from_id=5) == []


# ── Funding and marks ──


async def test_funding_is_paged_from_the_newest_back(venue, connector):
    rows = await connector.fetch_funding(PERP)
    assert [row.event_ns // NS_PER_MS for row in rows] == [FIRST_MS + n * 8 * 3_600_000 for n in range(250)]
    assert {row.rate for row in rows} == {0.0002}
    since, until = rows[120].event_ns, rows[140].event_ns
    assert await connector.fetch_funding(PERP, since, until) == rows[120:140]


async def test_a_venue_that_pages_in_a_circle_is_refused(venue, connector):
    venue.transport.rest["/api/v5/public/funding-rate-history"] = lambda q: Exchange.funding(venue, {"limit": q["limit"]})
    with pytest.raises(Refused, match="does not lie before"):
        await connector.fetch_funding(PERP)


async def test_mark_and_index_minutes_stand_at_their_close_and_only_closed_ones(venue, connector):
    since = FIRST_MS + 900 * MINUTE_MS
    rows = await connector.fetch_mark_kdata(PERP, since)
    wanted = [at + MINUTE_MS for at in venue.opens if since - MINUTE_MS <= at and at + MINUTE_MS <= NOW_MS]
    assert [row.event_ns // NS_PER_MS for row in rows] == wanted
    assert {(row.mark_price, row.index_price) for row in rows} == {(6.0, 5.0)}
    part = await connector.fetch_mark_kdata(PERP, rows[10].event_ns, rows[20].event_ns)
    assert part == rows[10:20]
    assert venue.asked("market/history-index-candles")[0]["instId"] == "BTC-USDT"


# ── Instruments, now, fates ──


async def test_instruments_of_the_chosen_markets(venue, okx):
    bodies = {"SPOT": okx.bodies["spot"], "SWAP": okx.bodies["swap"], "FUTURES": okx.bodies["futures"]}
    venue.transport.rest["/api/v5/public/instruments"] = lambda q: venue.kit.answer(bodies[q["instType"]])
    everything = venue.connector(Instruments())
    assert len(await everything.fetch_instruments()) == 21
    spot_only = venue.connector(None, markets=("spot",))
    assert {type(one).__name__ for one in await spot_only.fetch_instruments()} == {"CryptoPair"}
    assert [one.id for one in await everything.fetch_instruments()] == [one.id for one in okx.listed]


async def test_a_venue_that_lists_nothing_is_not_believed(venue, okx):
    venue.transport.rest["/api/v5/public/instruments"] = lambda q: venue.rows()
    connector = venue.connector(okx.listed)
    with pytest.raises(Malformed, match="no instrument in spot, swap, futures"):
        await connector.fetch_instruments()
    assert connector.instruments is okx.listed


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"code": "50011", "msg": "Too Many Requests"}, Throttled),
        ({"code": "50013", "msg": "busy"}, Unreachable),
        ({"code": "51001", "msg": "no such instrument"}, Refused),
    ],
)
async def test_a_body_that_says_no_is_no_answer(venue, connector, body, kind):
    venue.transport.rest["/api/v5/market/ticker"] = [venue.kit.answer(body)]
    with pytest.raises(kind) as error:
        await connector.fetch_ticker(BTC)
    assert type(error.value) is kind


async def test_a_page_survives_a_lost_answer_and_a_short_wait(venue, connector):
    answers = [
        Unreachable("lost"),
        venue.kit.answer({"code": "50011", "msg": "Too Many Requests"}, 429),
        Exchange.trades(venue, {"type": "1", "after": "1001", "limit": "1"}),
    ]
    venue.transport.rest["/api/v5/market/history-trades"] = answers
    assert ids_of(await connector.fetch_trades(BTC, from_id=1_000, to_id=1_000)) == [1_000]
    assert venue.clock.slept[-1] >= 2.0


async def test_a_ban_stops_everything(venue, connector):
    venue.transport.rest["/api/v5/market/ticker"] = [venue.kit.answer(b"", 418)]
    with pytest.raises(Banned):
        await connector.fetch_ticker(BTC)
    for call in (connector.fetch_server_time(), connector.open_stream([Subscription(BTC, "trade")])):
        with pytest.raises(Banned):
            await call


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.fetch_kdata("nope", "1m"), UnknownSymbol),
        (lambda c: c.fetch_trades(BTC, from_id=-1), OutOfRange),
        (lambda c: c.fetch_trades(BTC, to_id=2**63), OutOfRange),
        (lambda c: c.fetch_trades(BTC, stream="agg"), Unsupported),
        (lambda c: c.fetch_funding(BTC), Unsupported),
        (lambda c: c.fetch_funding(DATED), Unsupported),
        (lambda c: c.fetch_mark(BTC), Unsupported),
        (lambda c: c.fetch_mark_kdata(BTC), Unsupported),
        (lambda c: c.get_order_book(BTC, 0), OutOfRange),
        (lambda c: c.get_order_book(BTC, 5_001), OutOfRange),
        (lambda c: c.open_stream([Subscription(BTC, "kline")]), BadInput),
        (lambda c: c.open_stream([Subscription(BTC, "trade"), Subscription(BTC, "depth")]), BadInput),
    ],
)
async def test_wrong_calls_are_named_and_ask_nothing(venue, connector, call, error):
    with pytest.raises(error):
        await call(connector)
    assert venue.transport.asked == []
    assert venue.transport.sockets == []


def test_routes_part_the_two_sockets_and_bound_each(connector, okx):
    wanted = [Subscription(BTC, "kline", interval) for interval in Interval]
    wanted += [Subscription(BTC, "trade"), Subscription(BTC, "depth"), Subscription(BTC, "ticker"), Subscription(PERP, "mark")]
    assert [len(route) for route in connector.routes([*wanted, *wanted])] == [10, 3]
    many = [Subscription(one.id, "kline", interval) for one in okx.listed for interval in Interval]
    routes = connector.routes(many)
    assert [len(route) for route in routes] == [150, len(many) - 150]
    with pytest.raises(Unsupported, match="aggregated"):
        connector.routes([Subscription(BTC, "agg")])
    with pytest.raises(Unsupported, match="no mark price"):
        connector.routes([Subscription(BTC, "mark")])


def test_single_trades_have_dense_ids(connector):
    assert connector.trade_stream(BTC) == "trade"
    assert connector.trade_continuity(PERP) == "dense"
    with pytest.raises(Unsupported):
        connector.trade_continuity(PERP, "agg")


def test_a_market_that_was_not_chosen_is_refused(venue, okx):
    with pytest.raises(Unsupported, match="swap"):
        venue.connector(okx.listed, markets=("spot",)).trade_stream(PERP)


async def test_a_minute_is_its_own_grid(connector):
    rows = await connector.fetch_mark_kdata(DATED, NOW_MS - 10 * MINUTE_MS)
    assert all(row.event_ns % NS_PER_MINUTE == 0 for row in rows)
