"""Coinbase's past: pages put together, silences told from holes, closed rows from open ones, trades by id and by time."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from zvt_crypto.domain.errors import Refused, Throttled, Unreachable
from zvt_crypto.domain.instrument import CryptoPair, CryptoPerp, Instruments
from zvt_crypto.domain.time import NS_PER_S, Interval, to_rfc3339
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.coinbase import CoinbaseConnector

BTC, USDC, PERP = "cryptopair_coinbase_btcusd", "cryptopair_coinbase_btcusdc", "cryptoperp_coinbase_btcusd"
MINUTE, HOUR, DAY = 60, 3_600, 86_400
SECONDS = {"ONE_MINUTE": 60, "FIVE_MINUTE": 300, "FIFTEEN_MINUTE": 900, "THIRTY_MINUTE": 1800, "ONE_HOUR": 3600, "ONE_DAY": 86_400}
NOW = 1_723_161_270  # 2024-08-08T23:54:30Z, a Thursday
LATE_S = 0.7  # how far their clock is ahead of ours


class Exchange:
    """A venue made of one list of trades (second, price, quantity), whose ids rise by one from `first_id`; half a minute into a minute."""

    def __init__(self, kit, trades: list[tuple[float, float, float]], *, first_id: int = 1, now: float = NOW) -> None:
        self.kit, self.trades, self.first_id = kit, trades, first_id
        self.clock = kit.ManualClock(int((now - LATE_S) * 1e9))
        self.observer, self.transport = kit.ListObserver(), kit.ScriptedTransport()
        self.holes: set[int] = set()  # ids that nobody has
        self.most = 1_000  # trades that Advanced gives at most
        rest, prefix = self.transport.rest, "/api/v3/brokerage"
        rest[f"{prefix}/time"] = lambda q: kit.answer({"iso": "x", "epochSeconds": "1", "epochMillis": str(int(self.now * 1000))})
        for native in ("BTC-USD", "BTC-USDC", "BIP-20DEC30-CDE"):
            rest[f"{prefix}/market/products/{native}/candles"] = self.candles
            rest[f"{prefix}/market/products/{native}/ticker"] = self.ticker
        rest["/products/BTC-USD/trades"] = self.by_id
        product = {"product_id": "BTC-USDC", "product_type": "SPOT", "base_increment": "1", "quote_currency_id": "USDC", "alias": "BTC-USD"}
        rest[f"{prefix}/market/products/BTC-USDC"] = lambda q: kit.answer(product)
        shared = {"exchange": "coinbase", "base_asset": "BTC"}
        self.connector = CoinbaseConnector(
            self.transport,
            self.clock,
            LimitBudget(self.clock, self.observer),
            self.observer,
            instruments=Instruments(
                [
                    CryptoPair(id=BTC, native_symbol="BTC-USD", quote_asset="USD", **shared),
                    CryptoPair(id=USDC, native_symbol="BTC-USDC", quote_asset="USDC", **shared),
                    CryptoPerp(
                        id=PERP,
                        native_symbol="BIP-20DEC30-CDE",
                        quote_asset="USD",
                        underlying_asset="BTC",
                        settlement_currency="USD",
                        contract_size="0.01",
                        **shared,
                    ),
                ]
            ),
        )

    @property
    def now(self) -> float:
        return self.clock.ns / 1e9 + LATE_S

    def candles(self, q):
        step, first, last = SECONDS[q["granularity"]], int(q["start"]), int(q["end"])
        if (last - first) // step + 1 > 350:
            return self.kit.answer({"error": "INVALID_ARGUMENT", "message": "too many candles"}, 400)
        bars: dict[int, list[tuple[float, float]]] = {}
        for at, price, quantity in self.trades:
            open_s = int(at // step * step)
            # As the venue does, one row before the start may come along.
            if first - step <= open_s <= last and at <= self.now:
                bars.setdefault(open_s, []).append((price, quantity))
        rows = [
            {
                "start": str(open_s),
                "low": str(min(p for p, _ in rows)),
                "high": str(max(p for p, _ in rows)),
                "open": str(rows[0][0]),
                "close": str(rows[-1][0]),
                "volume": str(sum(size for _, size in rows)),
            }
            for open_s, rows in bars.items()
        ]
        return self.kit.answer({"candles": sorted(rows, key=lambda row: -int(row["start"]))})

    def rows(self) -> list[tuple[int, float, float, float]]:
        return [(self.first_id + n, *trade) for n, trade in enumerate(self.trades) if self.first_id + n not in self.holes]

    def by_id(self, q):
        below, limit = int(q.get("after", 10**18)), int(q["limit"])
        found = [row for row in self.rows() if row[0] < below and row[1] <= self.now][-limit:]
        made = [{"trade_id": i, "price": str(p), "size": str(s), "time": moment(at), "side": "sell"} for i, at, p, s in reversed(found)]
        return self.kit.answer(made, CB_BEFORE="x", CB_AFTER="y")

    def ticker(self, q):
        start, end = int(q.get("start", 0)), int(q.get("end", 10**12))
        found = [row for row in self.rows() if start <= row[1] <= min(end, self.now)][-min(int(q["limit"]), self.most) :]
        made = [
            {"trade_id": f"t-{i}", "product_id": "BIP-20DEC30-CDE", "price": str(p), "size": str(s), "time": moment(at), "side": "BUY"}
            for i, at, p, s in reversed(found)
        ]
        return self.kit.answer({"trades": made, "best_bid": "1", "best_ask": "2"})

    def asked(self) -> Counter:
        """How often each path was asked for, without the prefix."""
        return Counter(path.rpartition("/")[2] for _, path, _ in self.transport.asked)


def moment(at: float) -> str:
    whole = int(at)
    return to_rfc3339(whole * NS_PER_S)[:19] + f".{round((at - whole) * 1e6):06d}Z"


def every_minute(count: int, until: int = NOW) -> list[tuple[float, float, float]]:
    """One trade a minute, the last in the minute of `until`; prices rise by one."""
    last = until // MINUTE * MINUTE
    return [(last - (count - 1 - n) * MINUTE + 5, 1000.0 + n, 0.5) for n in range(count)]


def opens(klines) -> list[int]:
    return [k.open_ns // NS_PER_S for k in klines]


# ── Klines: pages ──


async def test_klines_page_forward_and_back_without_hole_or_repetition(kit):
    venue = Exchange(kit, every_minute(1_000))
    first = NOW // MINUTE * MINUTE - 999 * MINUTE
    whole = await venue.connector.fetch_kdata(BTC, "1m", since=first)
    assert opens(whole) == list(range(first, NOW, MINUTE))
    assert [k.final for k in whole] == [True] * 999 + [False]
    assert [k.close for k in whole] == [1000.0 + n for n in range(1_000)]
    assert {(k.source, k.turnover, k.trades) for k in whole} == {("venue", None, None)}
    part = await venue.connector.fetch_kdata(BTC, "1m", since=first + 100 * MINUTE, until=first + 500 * MINUTE)
    assert part == whole[100:500]
    assert await venue.connector.fetch_kdata(BTC, "1m", limit=700) == whole[-700:]
    assert await venue.connector.fetch_kdata(BTC, "1m", since=first, limit=450) == whole[:450]
    assert await venue.connector.fetch_kdata(BTC, "1m", until=first + 500 * MINUTE, limit=350) == whole[150:500]


async def test_every_candle_request_has_both_ends_and_no_more_than_a_page(kit):
    venue = Exchange(kit, every_minute(1_000))
    await venue.connector.fetch_kdata(BTC, "1m", limit=900)
    asked = [q for _, path, q in venue.transport.asked if path.endswith("/candles")]
    assert len(asked) == 3
    for q in asked:
        assert (int(q["end"]) - int(q["start"])) // MINUTE + 1 == 300
        assert (q["granularity"], q["limit"]) == ("ONE_MINUTE", "300")


async def test_without_a_start_the_listing_is_found_by_its_days(kit):
    venue = Exchange(kit, every_minute(50))
    rows = await venue.connector.fetch_kdata(BTC, "1m")
    assert len(rows) == 50
    # The empty first page, twelve of days, five that hold the minutes of the day; not one for each of five million minutes.
    assert venue.asked()["candles"] < 22


async def test_silent_years_between_trades_are_jumped_over(kit):
    old = [(1_500_000_000 + n * MINUTE, 500.0, 1.0) for n in range(3)]
    venue = Exchange(kit, old + every_minute(3))
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=1_499_990_000)
    # Three minutes on either side. The years between are a hole: nobody can tell such a silence from an outage.
    assert len([k for k in rows if k.source == "venue"]) == 6
    assert len(rows) == 6
    newest = await venue.connector.fetch_kdata(BTC, "1m", limit=5)
    assert newest == rows[-5:]
    assert venue.asked()["candles"] < 50


async def test_nothing_was_ever_traded(kit):
    venue = Exchange(kit, [])
    for how in ({"limit": 5}, {"since": NOW - HOUR}, {"since": NOW + HOUR}, {"until": "1970-01-02"}):
        for interval in ("1m", "1d", "4h", "1w"):
            assert await venue.connector.fetch_kdata(BTC, interval, **how) == []


# ── Klines: silences ──


async def test_a_silence_between_trades_is_flat_rows_that_say_what_they_are(kit):
    base = NOW // MINUTE * MINUTE
    trades = [(base - 20 * MINUTE + 1, 100.0, 1.0), (base - 20 * MINUTE + 2, 101.0, 1.0), (base - 15 * MINUTE + 1, 90.0, 2.0)]
    venue = Exchange(kit, trades)
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=base - 20 * MINUTE)
    assert opens(rows) == [base - n * MINUTE for n in (20, 19, 18, 17, 16, 15)]
    assert [(k.open, k.high, k.low, k.close, k.volume) for k in rows[1:5]] == [(101.0, 101.0, 101.0, 101.0, 0.0)] * 4
    assert {(k.source, k.trades, k.turnover, k.final) for k in rows[1:5]} == {("derived", 0, 0.0, True)}
    # What nothing follows yet is not told: the last fourteen minutes may be an outage.
    assert rows[-1].source == "venue"


async def test_a_part_of_a_silence_is_the_same_rows_as_the_whole(kit):
    base = NOW // MINUTE * MINUTE
    venue = Exchange(kit, [(base - 40 * MINUTE, 100.0, 1.0), (base - 10 * MINUTE, 90.0, 2.0)])
    whole = await venue.connector.fetch_kdata(BTC, "1m", since=base - 40 * MINUTE)
    assert len(whole) == 31
    for first, last in ((5, 9), (0, 7), (25, 31), (30, 31), (29, 30)):
        since, until = base - (40 - first) * MINUTE, base - (40 - last) * MINUTE
        assert await venue.connector.fetch_kdata(BTC, "1m", since=since, until=until) == whole[first:last]
        assert await venue.connector.fetch_kdata(BTC, "1m", since=since, limit=last - first) == whole[first:last]
        assert await venue.connector.fetch_kdata(BTC, "1m", until=until, limit=last - first) == whole[first:last]


async def test_a_silence_longer_than_a_page_stays_a_hole(kit):
    base = NOW // MINUTE * MINUTE
    for minutes, count in ((300, 301), (301, 2)):
        venue = Exchange(kit, [(base - minutes * MINUTE, 1.0, 1.0), (base, 1.0, 1.0)])
        assert len(await venue.connector.fetch_kdata(BTC, "1m", since=base - minutes * MINUTE)) == count
        assert len(await venue.connector.fetch_kdata(BTC, "1m", limit=400)) == count
    inside = await venue.connector.fetch_kdata(BTC, "1m", since=base - 100 * MINUTE, until=base - 90 * MINUTE)
    assert inside == []


# ── Klines: finality ──


@pytest.mark.parametrize(
    ("past_s", "final"),
    [(-1, False), (0.5, False), (1.9, False), (2.1, True), (14, True), (20, True)],
)
async def test_a_minute_is_final_two_seconds_past_its_close_on_the_venues_clock(kit, past_s, final):
    close = NOW // MINUTE * MINUTE
    venue = Exchange(kit, every_minute(3, close - 1), now=close + past_s)
    (row,) = await venue.connector.fetch_kdata(BTC, "1m", since=close - MINUTE, limit=1)
    assert row.final is final


async def test_what_has_just_closed_is_read_twice_and_not_final_if_it_changed(kit):
    close = NOW // MINUTE * MINUTE
    venue = Exchange(kit, every_minute(3, close - 1), now=close + 5)
    answer = venue.candles

    def gathers_late(q):
        made = answer(q)
        venue.trades[-1] = (venue.trades[-1][0], 5000.0, 0.5)
        return made

    venue.transport.rest["/api/v3/brokerage/market/products/BTC-USD/candles"] = gathers_late
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=close - 3 * MINUTE)
    assert [(k.final, k.close) for k in rows] == [(True, 1000.0), (True, 1001.0), (False, 5000.0)]
    assert 1.0 in venue.clock.slept
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=close - 3 * MINUTE)
    assert [k.final for k in rows] == [True, True, True]


async def test_a_row_that_only_the_second_reading_has_is_not_final(kit):
    close = NOW // MINUTE * MINUTE
    venue = Exchange(kit, every_minute(2, close - MINUTE - 1), now=close + 5)
    answer = venue.candles

    def comes_late(q):
        made = answer(q)
        if len(venue.trades) == 2:
            venue.trades.append((close - 3.0, 7.0, 1.0))
        return made

    venue.transport.rest["/api/v3/brokerage/market/products/BTC-USD/candles"] = comes_late
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=close - 3 * MINUTE)
    assert [(k.close, k.final) for k in rows] == [(1000.0, True), (1001.0, True), (7.0, False)]


async def test_what_closed_long_ago_is_read_once(kit):
    venue = Exchange(kit, every_minute(10))
    await venue.connector.fetch_kdata(BTC, "1m", limit=10)
    assert venue.asked()["candles"] == 1


async def test_the_flat_row_of_a_minute_that_has_just_ended_is_not_final(kit):
    close = NOW // MINUTE * MINUTE
    venue = Exchange(kit, [(close - 2 * MINUTE, 5.0, 1.0), (close + 0.5, 6.0, 1.0)], now=close + 1)
    rows = await venue.connector.fetch_kdata(BTC, "1m", since=close - 2 * MINUTE)
    assert [(k.source, k.final) for k in rows] == [("venue", True), ("derived", False), ("venue", False)]


# ── Klines: longer ones ──


def every_hour(count: int) -> list[tuple[float, float, float]]:
    last = NOW // HOUR * HOUR
    return [(last - (count - 1 - n) * HOUR + 5, 1000.0 + n, 0.5) for n in range(count)]


async def test_four_hours_are_made_of_hours(kit):
    venue = Exchange(kit, every_hour(24 * 40))
    rows = await venue.connector.fetch_kdata(BTC, "4h", limit=200)
    assert opens(rows) == [NOW // (4 * HOUR) * 4 * HOUR - n * 4 * HOUR for n in reversed(range(200))]
    assert {(k.source, k.interval) for k in rows} == {("derived", Interval.HOUR_4)}
    assert [k.final for k in rows] == [True] * 199 + [False]
    assert rows[-2].volume == 2.0
    # 23:54 is in the hour of the last trade, 1959: the four hours from 16:00 to 20:00 hold 1952 to 1955.
    assert (rows[-2].open, rows[-2].close) == (1952.0, 1955.0)
    since = rows[10].open_ns
    assert await venue.connector.fetch_kdata(BTC, "4h", since=since, limit=5) == rows[10:15]
    assert await venue.connector.fetch_kdata(BTC, "4h", since=since, until=rows[12].open_ns) == rows[10:12]


async def test_weeks_open_on_monday_and_months_on_day_one(kit):
    day = NOW // DAY * DAY
    venue = Exchange(kit, [(day - n * DAY + 7, 100.0 - n, 1.0) for n in reversed(range(90))])
    weeks = await venue.connector.fetch_kdata(BTC, "1w", since=NOW - 80 * DAY)
    assert all((at // DAY + 3) % 7 == 0 for at in opens(weeks))  # 1970-01-01 was a Thursday
    assert [k.final for k in weeks] == [True] * (len(weeks) - 1) + [False]
    assert [k.volume for k in weeks[:-1]] == [7.0] * (len(weeks) - 1)
    months = await venue.connector.fetch_kdata(BTC, "1M", limit=3)
    assert opens(months) == [1_717_200_000, 1_719_792_000, 1_722_470_400]  # June, July, August 2024
    assert [(k.volume, k.final) for k in months] == [(30.0, True), (31.0, True), (8.0, False)]


async def test_the_week_of_the_listing_is_whole_and_one_with_a_hole_is_not(kit):
    monday = 1_720_396_800  # 2024-07-08
    venue = Exchange(kit, [(monday + n * DAY + 7, 1.0, 1.0) for n in range(2, 20)])
    (first,) = await venue.connector.fetch_kdata(BTC, "1w", since=monday, limit=1)
    assert (first.open_ns // NS_PER_S, first.volume, first.final) == (monday, 5.0, True)
    # Traded a year before, then not for longer than can be told from an outage.
    venue = Exchange(kit, [(monday - 400 * DAY, 1.0, 1.0)] + [(monday + n * DAY + 7, 1.0, 1.0) for n in range(2, 20)])
    (torn,) = await venue.connector.fetch_kdata(BTC, "1w", since=monday, limit=1)
    assert (torn.open_ns // NS_PER_S, torn.volume, torn.final) == (monday, 5.0, False)


async def test_longer_ones_jump_over_years_without_trades(kit):
    old = [(1_500_000_000 + n * DAY, 1.0, 1.0) for n in range(30)]
    recent = [(NOW - n * DAY, 2.0, 1.0) for n in reversed(range(30))]
    venue = Exchange(kit, old + recent)
    newest = await venue.connector.fetch_kdata(BTC, "1M", limit=4)
    assert [k.open_ns for k in newest] == sorted(k.open_ns for k in newest)
    assert len(newest) == 4  # two months then, two now
    assert [k.open_ns for k in await venue.connector.fetch_kdata(BTC, "1M", limit=4, since=0)] == [k.open_ns for k in newest]


# ── Trades of pairs ──


def ids(trades) -> list[int]:
    return [int(t.trade_id) for t in trades]


def many(count: int, every_s: float = 0.5) -> list[tuple[float, float, float]]:
    return [(NOW - (count - n) * every_s, 1000.0 + n % 7, 0.25) for n in range(count)]


async def test_trades_by_id_are_exactly_those(kit):
    venue = Exchange(kit, many(3_500), first_id=1_000_001)
    got = await venue.connector.fetch_trades(BTC, from_id=1_000_101, to_id=1_002_600)
    assert ids(got) == list(range(1_000_101, 1_002_601))
    assert {(t.instrument, t.stream, t.side) for t in got} == {(BTC, "trade", "buy")}
    assert ids(await venue.connector.fetch_trades(BTC, from_id=1_003_400)) == list(range(1_003_400, 1_003_501))
    assert ids(await venue.connector.fetch_trades(BTC, from_id=1_001_000, limit=30)) == list(range(1_001_000, 1_001_030))
    assert ids(await venue.connector.fetch_trades(BTC, to_id=1_001_000, limit=30)) == list(range(1_000_971, 1_001_001))
    assert ids(await venue.connector.fetch_trades(BTC, limit=1_200)) == list(range(1_002_301, 1_003_501))
    assert ids(await venue.connector.fetch_trades(BTC)) == list(range(1_002_501, 1_003_501))


async def test_ids_that_are_not_there_give_what_is(kit):
    venue = Exchange(kit, many(500), first_id=1_000_001)
    assert ids(await venue.connector.fetch_trades(BTC, from_id=1_000_400, to_id=2**63 - 1)) == list(range(1_000_400, 1_000_501))
    assert await venue.connector.fetch_trades(BTC, from_id=2_000_000, to_id=2**62) == []
    assert await venue.connector.fetch_trades(BTC, from_id=2_000_000) == []
    assert ids(await venue.connector.fetch_trades(BTC, to_id=2**62, limit=2)) == [1_000_499, 1_000_500]
    assert venue.asked()["trades"] < 12
    venue = Exchange(kit, [])
    for how in ({}, {"from_id": 5}, {"to_id": 5}, {"since": NOW - 5}, {"from_id": 3, "to_id": 5}):
        assert await venue.connector.fetch_trades(BTC, **how) == []


async def test_a_hole_of_the_venues_own_does_not_end_the_run(kit):
    venue = Exchange(kit, many(5_000))
    venue.holes = set(range(1_500, 4_200))
    got = await venue.connector.fetch_trades(BTC, from_id=1_400, to_id=4_300)
    assert ids(got) == [*range(1_400, 1_500), *range(4_200, 4_301)]


async def test_ids_far_below_the_first_one_are_jumped_over(kit):
    venue = Exchange(kit, many(3_500), first_id=1_000_000_001)
    assert ids(await venue.connector.fetch_trades(BTC, from_id=1, limit=3)) == [1_000_000_001, 1_000_000_002, 1_000_000_003]
    assert venue.asked()["trades"] < 30
    assert await venue.connector.fetch_trades(BTC, from_id=1, to_id=999_999_999) == []
    assert ids(await venue.connector.fetch_trades(BTC, from_id=1, to_id=1_000_002_500)) == list(range(1_000_000_001, 1_000_002_501))
    assert venue.asked()["trades"] < 70


async def test_a_hole_of_millions_of_ids_is_jumped_over(kit):
    venue = Exchange(kit, many(3_000))
    kept = venue.rows()
    venue.rows = lambda: [(i if i <= 1_300 else i + 70_000_000, *rest) for i, *rest in kept]
    got = await venue.connector.fetch_trades(BTC, from_id=1_200, limit=150)
    assert ids(got) == [*range(1_200, 1_301), *range(70_001_301, 70_001_350)]
    assert venue.asked()["trades"] < 25


@pytest.mark.parametrize("gone", [0, 7, 899, 1_001, 5_000, 12_345, 19_998])
async def test_trades_by_time_begin_with_the_first_at_or_after_it(kit, gone):
    """Twenty thousand trades, thick and thin by turns: found with a few pages, whatever the time."""
    times = [NOW - 30_000.0]
    for n in range(19_999):
        times.append(times[-1] + (0.0 if n % 5 == 0 else 0.001 if (n // 2_000) % 2 else 2.5))
    venue = Exchange(kit, [(at, 5.0, 1.0) for at in times], first_id=1_000_000_000)
    since_ns = round(times[gone] * 1e6) * 1_000
    first = next(n for n, at in enumerate(times) if round(at * 1e6) * 1_000 >= since_ns)
    (found,) = await venue.connector.fetch_trades(BTC, since_ns, limit=1)
    assert int(found.trade_id) == 1_000_000_000 + first
    assert venue.asked()["trades"] < 32


async def test_trades_of_a_span_stop_before_its_end(kit):
    venue = Exchange(kit, many(3_000))
    since, until = NOW - 1_200, NOW - 100
    got = await venue.connector.fetch_trades(BTC, since, until=until)
    assert [t.event_ns for t in got] == [n * NS_PER_S // 2 for n in range(since * 2, until * 2)]
    assert await venue.connector.fetch_trades(BTC, NOW + 5) == []
    before_all = await venue.connector.fetch_trades(BTC, NOW - 100_000, limit=3)
    assert ids(before_all) == [1, 2, 3]


async def test_a_start_inside_a_hole_begins_behind_it(kit):
    venue = Exchange(kit, many(30_000))
    venue.holes = set(range(10_000, 25_000))
    (found,) = await venue.connector.fetch_trades(BTC, int((NOW - 15_000 * 0.5) * 1e9), limit=1)
    assert int(found.trade_id) == 25_000


async def test_a_usdc_pair_reads_the_trades_of_the_pair_whose_book_it_shares(kit):
    venue = Exchange(kit, many(50))
    got = await venue.connector.fetch_trades(USDC, limit=5)
    assert [(t.instrument, t.trade_id) for t in got] == [(USDC, str(n)) for n in range(46, 51)]
    await venue.connector.fetch_trades(USDC, limit=5)
    assert venue.asked()["BTC-USDC"] == 1


async def test_trades_of_exchange_come_from_its_own_host_and_budget(kit):
    venue = Exchange(kit, many(50))
    await venue.connector.fetch_trades(BTC, limit=5)
    assert {host for host, path, _ in venue.transport.asked if path.startswith("/products/")} == {"api.exchange.coinbase.com"}


# ── Trades of contracts ──


async def test_trades_of_contracts_are_read_backwards_by_time_and_counted_in_base(kit):
    venue = Exchange(kit, many(3_500))
    got = await venue.connector.fetch_trades(PERP, NOW - 1_500)
    assert [t.trade_id for t in got] == [f"t-{n}" for n in range(501, 3_501)]
    assert {(t.instrument, t.side, t.quantity) for t in got} == {(PERP, "sell", 0.0025)}
    newest = await venue.connector.fetch_trades(PERP, limit=1_500)
    assert newest == got[-1_500:]
    assert await venue.connector.fetch_trades(PERP, limit=7) == got[-7:]
    assert await venue.connector.fetch_trades(PERP, NOW - 1_500, limit=7) == got[:7]
    assert await venue.connector.fetch_trades(PERP, NOW - 1_500, until=NOW - 1_400) == got[:200]
    assert await venue.connector.fetch_trades(PERP, until=NOW - 1_400, limit=10) == got[190:200]


async def test_a_venue_that_gives_fewer_rows_than_asked_is_asked_again(kit):
    venue = Exchange(kit, many(1_000))
    venue.most = 100
    got = await venue.connector.fetch_trades(PERP, NOW - 450)
    assert [t.trade_id for t in got] == [f"t-{n}" for n in range(101, 1_001)]


async def test_a_second_that_holds_more_than_a_page_ends_the_way_back(kit):
    crowd = [(NOW - 10 + n / 1_000, 1.0, 1.0) for n in range(900)]
    venue = Exchange(kit, [(NOW - 20.0, 1.0, 1.0), *crowd, (NOW - 5.0, 1.0, 1.0)])
    venue.most = 300
    got = await venue.connector.fetch_trades(PERP, NOW - 60)
    # An unbroken run up to its last row, which begins where the venue stops.
    first = 903 - len(got)
    assert [t.trade_id for t in got] == [f"t-{n}" for n in range(first, 903)]
    assert 300 <= len(got) < 600


async def test_a_run_begins_anew_behind_a_second_that_holds_more_than_a_page(kit):
    crowd = [(NOW - 200 + n / 1_000, 1.0, 1.0) for n in range(900)]
    venue = Exchange(kit, [*many(100, 30.0)[:90], *crowd, (NOW - 150.0, 1.0, 1.0), (NOW - 100.0, 1.0, 1.0)])
    venue.most = 300
    got = await venue.connector.fetch_trades(PERP, NOW - 3_000, limit=2_000)
    last = len(venue.trades)
    assert [t.trade_id for t in got] == [f"t-{n}" for n in range(last + 1 - len(got), last + 1)]
    assert 300 < len(got) < 900


async def test_the_first_trades_of_a_long_span_do_not_read_all_of_it(kit):
    venue = Exchange(kit, many(3_000, 5.0))
    got = await venue.connector.fetch_trades(PERP, NOW - 14_500, limit=50)
    assert [t.trade_id for t in got] == [f"t-{n}" for n in range(101, 151)]
    assert venue.asked()["ticker"] < 12
    first = await venue.connector.fetch_trades(PERP, 0, limit=1)
    assert first[0].trade_id == "t-1"
    assert venue.asked()["ticker"] < 400


# ── What goes wrong ──


async def test_a_page_that_is_lost_is_asked_for_again_and_a_refusal_is_not(kit):
    venue = Exchange(kit, every_minute(10))
    path = "/api/v3/brokerage/market/products/BTC-USD/candles"
    fails = [Unreachable("lost"), kit.answer(b"", 502), kit.answer(b'{"errors":[{"id":"rate_limit_exceeded"}]}', 429)]

    def answer(q):
        return fails.pop(0) if fails else venue.candles(q)

    venue.transport.rest[path] = answer
    fails[2:] = []
    assert len(await venue.connector.fetch_kdata(BTC, "1m", limit=5)) == 5
    fails[:] = [kit.answer(b'{"errors":[{"id":"rate_limit_exceeded"}]}', 429)] * 3
    with pytest.raises(Throttled):
        await venue.connector.fetch_kdata(BTC, "1m", limit=5)
    fails[:] = [kit.answer({"error": "NOT_FOUND"}, 404)]
    with pytest.raises(Refused, match="NOT_FOUND"):
        await venue.connector.fetch_kdata(BTC, "1m", limit=5)


# ── A recorded week ──


@pytest.mark.data
async def test_a_recorded_week_of_minutes_comes_back_row_by_row(kit, recorded):
    """10,080 minutes of BTC-USD of February 2020, as another client gathered them; every tenth taken out to be silent."""
    name = "coinbase-pro-node/src/test/fixtures/rest/products/BTC-USD/candles/BTC-USD-1581292800000-60.json"
    rows = {row["openTimeInMillis"] // 1000: row for row in json.loads((recorded / name).read_text())}
    start, end = min(rows), max(rows)
    kept = {at: row for at, row in rows.items() if (at // MINUTE) % 10}
    venue = Exchange(kit, [], now=end + HOUR)

    def page(q):
        found = [kept[at] | {"at": at} for at in range(int(q["start"]), int(q["end"]) + 1, MINUTE) if at in kept]
        made = [{k: str(row[k]) for k in ("low", "high", "open", "close", "volume")} | {"start": str(row["at"])} for row in reversed(found)]
        return kit.answer({"candles": made})

    venue.transport.rest["/api/v3/brokerage/market/products/BTC-USD/candles"] = page
    got = await venue.connector.fetch_kdata(BTC, "1m", since=start, until=end)
    assert len(got) == 10_079 - (start // MINUTE % 10 == 0)
    assert all(k.final for k in got)
    for kline in got:
        at = kline.open_ns // NS_PER_S
        if at in kept:
            told = kept[at]
            values = (told["open"], told["high"], told["low"], told["close"], told["volume"], "venue")
        else:
            before = kept[at - MINUTE]["close"]
            values = (before, before, before, before, 0.0, "derived")
        assert (kline.open, kline.high, kline.low, kline.close, kline.volume, kline.source) == values
