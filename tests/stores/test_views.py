"""The views have the mission's names and columns, and give digits back as they went in."""

from __future__ import annotations

import json
from decimal import Decimal

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stores_fixtures import FUTURE, KNOWN, MINUTE, PAIR, PERP, START, bar, trade
from zvt_crypto.domain.instrument import CryptoAsset
from zvt_crypto.domain.market import BookSnapshot, Funding
from zvt_crypto.domain.time import INTERVALS, Interval, floor_ns

# The columns of the specification's tables, word for word.
SPECIFIED = {
    "crypto_asset": "id symbol full_name market_cap max_supply created_timestamp updated_timestamp",
    "crypto_pair": "id base_asset quote_asset exchange status min_trade_amount price_precision quantity_precision",
    "crypto_perp": "id underlying_asset settlement_currency contract_size funding_rate status exchange",
    "crypto_trade": "id entity_id timestamp trade_id price quantity side",
    "crypto_book_snapshot": "id entity_id timestamp bids asks",
}
SLUGS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1mon")
KDATA = "id entity_id timestamp open_price high_price low_price close_price volume turnover"
SPECIFIED |= {f"crypto{kind}_{slug}_kdata": KDATA for kind in ("pair", "perp") for slug in SLUGS}


async def test_all_views_have_the_columns_of_the_specification(sql):
    for view, columns in SPECIFIED.items():
        found = await sql.fetch("SELECT column_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position", view)
        assert set(columns.split()) <= {row[0] for row in found}, view
        if view.endswith("_kdata"):
            assert [row[0] for row in found][:9] == columns.split()


async def test_of_two_facts_the_one_told_later_counts_and_an_announced_one_when_it_begins(listed_store, sql):
    async def told(status: str, valid_day: int, known_day: int) -> str:
        day = "timestamptz '2024-09-01Z' + $%d * interval '1 day'"
        insert = f"""INSERT INTO instrument_fact (instrument_id, field, value, valid_from, known_at)
                     SELECT instrument_id, 'status', $2, {day % 3}, {day % 4} FROM instrument WHERE id = $1"""
        await sql.execute(insert, PAIR.id, status, valid_day, known_day)
        return await sql.fetchval("SELECT status FROM crypto_pair WHERE id = $1", PAIR.id)

    assert await told("suspended", 2, 2) == "suspended"
    assert await told("delisted", 1, 3) == "delisted"
    assert await told("active", 4, 4) == "active"
    await told("delisted", 9, 5)
    assert await told("suspended", 6, 6) == "delisted"
    assert await told("active", 10, 10) == "active"


@pytest.mark.parametrize("interval", INTERVALS, ids=lambda i: i.slug)
async def test_pairs_and_perpetuals_share_a_table_and_have_views_of_their_own(listed_store, sql, interval):
    at = floor_ns(interval, START)
    rows = [bar(instrument=i.id, interval=interval, open_ns=at, close=c) for i, c in ((PAIR, 100.5), (PERP, 101.5), (FUTURE, 102.5))]
    await listed_store.klines.upsert(rows, KNOWN)
    for kind, instrument, close in (("pair", PAIR, "100.5"), ("perp", PERP, "101.5")):
        found = await sql.fetch(f"SELECT entity_id, close_price, source, final FROM crypto{kind}_{interval.slug}_kdata")
        assert [tuple(row) for row in found] == [(instrument.id, Decimal(close), "venue", True)]


async def test_ids_follow_zvts_habit(listed_store, sql):
    await listed_store.klines.upsert([bar(), bar(interval=Interval.DAY_1, open_ns=floor_ns(Interval.DAY_1, START))], KNOWN)
    assert await sql.fetchval("SELECT id FROM cryptopair_1m_kdata") == "cryptopair_binance_btcusdt_2024-08-08T23:58:00.000"
    assert await sql.fetchval("SELECT id FROM cryptopair_1d_kdata") == "cryptopair_binance_btcusdt_2024-08-08"


async def test_a_pair_tells_its_precision_beside_its_steps(listed_store, sql):
    row = await sql.fetchrow("SELECT * FROM crypto_pair")
    assert (row["base_asset"], row["quote_asset"], row["exchange"], row["status"]) == ("BTC", "USDT", "binance", "active")
    assert (row["tick"], row["price_precision"], row["lot"], row["quantity_precision"]) == (Decimal("0.01"), 2, Decimal("0.00001"), 5)
    assert (row["min_trade_amount"], row["min_notional"]) == (Decimal("0.00001"), Decimal(5))
    assert row["created_timestamp"] == row["updated_timestamp"]
    assert row["created_timestamp"].isoformat() == "2024-08-08T23:58:00+00:00"
    await listed_store.instruments.delist(PAIR.id, KNOWN)
    row = await sql.fetchrow("SELECT * FROM crypto_pair")
    assert (row["status"], row["delisted_timestamp"].isoformat()) == ("delisted", "2024-08-09T00:08:00+00:00")
    assert row["updated_timestamp"] > row["created_timestamp"]


async def test_a_perpetual_tells_its_newest_settled_funding(listed_store, sql):
    assert (await sql.fetchrow("SELECT * FROM crypto_perp"))["funding_rate"] is None
    await listed_store.facts.save_funding([Funding(PERP.id, START + n * MINUTE, rate) for n, rate in enumerate((0.0002, 0.0001))], KNOWN)
    row = await sql.fetchrow("SELECT * FROM crypto_perp")
    assert (row["underlying_asset"], row["settlement_currency"], row["contract_size"]) == ("BTC", "USDT", Decimal(1))
    assert (row["funding_rate"], row["funding_timestamp"].isoformat()) == (Decimal("0.0001"), "2024-08-08T23:59:00+00:00")


async def test_an_asset_shows_its_newest_facts(listed_store, sql):
    await listed_store.instruments.save_assets(
        [CryptoAsset(id="crypto_binance_btc", exchange="binance", symbol="BTC", full_name="Bitcoin", max_supply=Decimal(21_000_000))],
        KNOWN,
        "s",
    )
    row = await sql.fetchrow("SELECT symbol, full_name, market_cap, max_supply FROM crypto_asset WHERE id = 'crypto_binance_btc'")
    assert tuple(row) == ("BTC", "Bitcoin", None, Decimal(21_000_000))


async def test_trades_and_books_are_shown(listed_store, sql):
    await listed_store.trades.append([trade(side="sell", event_ns=START + 1_234_567)], KNOWN)
    row = await sql.fetchrow("SELECT id, entity_id, timestamp, event_ns_rest, trade_id, stream, price, quantity, side FROM crypto_trade")
    assert row["id"] == "cryptopair_binance_btcusdt_trade_1000"
    assert (row["timestamp"].microsecond, row["event_ns_rest"]) == (1234, 567)
    assert tuple(row)[4:] == ("1000", "trade", Decimal("60000.01"), Decimal("0.00123"), "sell")
    await listed_store.facts.save_books([BookSnapshot(PAIR.id, 7, [(99.5, 1.0)], [(100.25, 0.001), (101.0, 2.0)], START)], KNOWN)
    row = await sql.fetchrow("SELECT id, bids, asks FROM crypto_book_snapshot")
    assert row["id"] == "cryptopair_binance_btcusdt_2024-08-08T23:58:00.000000_7"
    assert (json.loads(row["bids"]), json.loads(row["asks"])) == ([["99.5", "1"]], [["100.25", "0.001"], ["101", "2"]])


# Decimal strings of up to 15 significant digits, as exchanges write them: float64 holds each of them for certain.
DIGITS = st.builds(lambda n, places: Decimal(n).scaleb(-places), st.integers(1, 10**15 - 1), st.integers(0, 15))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DIGITS, min_size=40, max_size=40))
async def test_fifteen_digits_come_back_digit_by_digit(listed_store, sql, numbers):
    await _clear(sql)
    rows = [
        bar(n, open=float(x), high=float(x), low=float(x), close=float(x), volume=float(x), turnover=float(x))
        for n, x in enumerate(numbers)
    ]
    await listed_store.klines.upsert(rows, KNOWN)
    await listed_store.trades.append([trade(n, price=float(x), quantity=float(x)) for n, x in enumerate(numbers)], KNOWN)
    bars = await sql.fetch(
        f"SELECT {KDATA.replace('id entity_id timestamp ', '').replace(' ', ', ')} FROM cryptopair_1m_kdata ORDER BY timestamp"
    )
    for row, number in zip(bars, numbers, strict=True):
        assert {_plain(value) for value in row} == {_plain(number)}
    deals = await sql.fetch("SELECT price, quantity FROM crypto_trade ORDER BY timestamp")
    assert [_plain(row[0]) for row in deals] == [_plain(row[1]) for row in deals] == [_plain(number) for number in numbers]


async def test_a_direct_cast_would_have_cut_digits(sql):
    """Why the views go through text."""
    assert await sql.fetchval("SELECT 0.30000000000000004::float8::numeric") == Decimal("0.3")
    assert await sql.fetchval("SELECT 0.30000000000000004::float8::text::numeric") == Decimal("0.30000000000000004")


def _plain(number: Decimal) -> str:
    return format(number.normalize(), "f")


async def _clear(sql: asyncpg.Connection) -> None:
    await sql.execute("TRUNCATE kline_1m, trade")
