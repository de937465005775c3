"""A row that was changed behind the store's back is found and named; what the store writes is no such row."""

from __future__ import annotations

import asyncio
import random

import asyncpg
import pytest

from stores_fixtures import MINUTE, PAIR, PERP, START, bar, trade
from zvt_crypto.domain.market import BookSnapshot, Funding, MarkPrice
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_S, Interval
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.stores.postgres.bars import pack, unpack
from zvt_crypto.stores.postgres.compact import compact
from zvt_crypto.stores.postgres.signedrows import NOUNS

S = NS_PER_S
BARS = 300
REST = "open, high, low, close, volume, turnover, source, final"
PARTS = "price, quantity, taker_buys"


@pytest.fixture
async def signed(listed_store: PostgresStore) -> PostgresStore:
    """Minutes of two days, an hour of trades, funding, marks and books: all signed."""
    store = listed_store
    await store.klines.upsert([bar(n, close=100 + n % 3) for n in range(BARS) if n not in (7, 8)], START + S)
    await store.klines.upsert([bar(0, interval=i, open_ns=0) for i in (Interval.DAY_1, Interval.MONTH_1)], START + S)
    await store.klines.upsert([bar(5, close=102.5, turnover=None, trades=None)], START + 2 * S)
    await store.trades.append([trade(n * 10_000) for n in range(300)], START + S)
    await store.facts.save_funding([Funding(PERP.id, START + n * NS_PER_DAY, 0.0001 * n) for n in range(3)], START + S)
    await store.facts.save_mark([MarkPrice(PERP.id, START + n * MINUTE, 100.0 + n, None, None, None) for n in range(9)], START + S)
    await store.facts.save_books([BookSnapshot(PAIR.id, n, [(99.0, 1.0 + n)], [(101.0, 2.0)], START + n) for n in range(4)], START + S)
    report = await store.checksums.sign()
    # minutes: 1 month; 1d and 1M: a year each; trades: 2 days; funding, marks, books: one each
    assert (report.signed, report.wrong, report.chunks) == (8, [], 0)
    return store


async def wrong(store: PostgresStore) -> list[tuple[str, str, int]]:
    report = await store.checksums.verify()
    return [(row.noun, row.fault, row.at_ns) for row in report.wrong]


async def test_what_is_as_it_was_signed_is_right(signed):
    report = await signed.checksums.verify()
    assert (report.chunks, report.rows, report.touched, report.unsigned, report.wrong) == (8, BARS - 2 + 2 + 300 + 3 + 9 + 4, 0, 0, [])
    again = await signed.checksums.sign()
    assert (again.signed, again.chunks, again.rows) == (0, 0, 0)


@pytest.mark.parametrize(
    ("statement", "fault", "noun", "at_ns"),
    [
        ("UPDATE kline_1m SET close = close + 0.001 WHERE open_time = {at}", "changed", "kline_1m", START + 40 * MINUTE),
        ("UPDATE kline_1m SET known_at = known_at + '1 s' WHERE open_time = {at}", "changed", "kline_1m", START + 40 * MINUTE),
        ("UPDATE kline_1m_202408 SET trades = NULL WHERE open_time = {at}", "changed", "kline_1m", START + 40 * MINUTE),
        ("DELETE FROM kline_1m WHERE open_time = {at}", "missing", "kline_1m", START + 40 * MINUTE),
        ("UPDATE kline_1m SET final = false WHERE open_time = {at}", "missing", "kline_1m", START + 40 * MINUTE),
        (
            f"INSERT INTO kline_1m SELECT instrument_id, trades, {{at}}, now(), {REST} FROM kline_1m LIMIT 1",
            "added",
            "kline_1m",
            START + 7 * MINUTE,
        ),
        ("DELETE FROM kline_1mon", "missing", "kline_1mon", 0),
        ("DELETE FROM trade WHERE event_time = {at}", "missing", "trade", START + 90 * S),
        (
            "ALTER TABLE trade DISABLE TRIGGER keeps_rows; UPDATE trade SET price = price + 0.01 WHERE event_time = {at}",
            "changed",
            "trade",
            START + 140 * S,
        ),
        (
            f"INSERT INTO trade SELECT instrument_id, stream, 5, event_time, now(), {PARTS}, 'x' FROM trade WHERE event_time = {{at}}",
            "added",
            "trade",
            START + 140 * S,
        ),
        ("UPDATE funding SET rate = 7 WHERE event_time = {at}", "changed", "funding", START + NS_PER_DAY),
        ("UPDATE mark SET index_price = 7 WHERE event_time = {at}", "changed", "mark", START + 2 * MINUTE),
        (
            "UPDATE book_snapshot SET bid_sizes[1] = 5 WHERE event_time = {at} AND last_id = 2",
            "changed",
            "book_snapshot",
            START,
        ),
    ],
)
async def test_a_row_that_another_program_changed_is_named(signed, sql, statement, fault, noun, at_ns):
    moment = f"'epoch'::timestamptz + {at_ns // 1000} * interval '1 microsecond'"
    await sql.execute(statement.format(at=f"({moment})"))
    if fault == "missing" and noun == "trade":
        at_ns -= 10 * S  # all that can be known: it stood after the row before it
    assert await wrong(signed) == [(noun, fault, at_ns)]
    assert (await signed.checksums.sign()).signed == 0
    assert await wrong(signed) == [(noun, fault, at_ns)]


async def test_the_report_says_what_the_row_is_now_and_between_which_rows_one_is_missing(signed, sql):
    await sql.execute("UPDATE kline_1m SET close = 100.5 WHERE open_time = '2024-08-09 00:00:00+00'")
    (found,) = (await signed.checksums.verify()).wrong
    assert (found.instrument, found.rows) == (PAIR.id, BARS - 2)
    assert "close 100.5" in found.said
    await sql.execute("DELETE FROM trade WHERE venue_trade_id = '1010'")
    await sql.execute(f"DELETE FROM trade WHERE event_time = 'epoch'::timestamptz + {(START + 50 * S) // 1000} * interval '1 microsecond'")
    (lost,) = (await signed.checksums.verify(nouns=["trade"])).wrong
    assert (lost.at_ns, lost.before_ns) == (START + 40 * S, START + 60 * S)
    only = await signed.checksums.verify([PERP.id])
    assert (only.wrong, only.chunks) == ([], 2)


async def test_what_the_store_writes_later_is_no_fault_and_is_signed_next(signed, sql):
    later = START + 400 * NS_PER_DAY
    await signed.klines.upsert([bar(7), bar(40, close=101.25), bar(41, source="trades", close=100.75)], later)
    await signed.trades.append([trade(1), trade(5)], later)
    await signed.facts.save_mark([MarkPrice(PERP.id, START, 100.0, 99.0, None, None)], later)
    await signed.facts.save_books([BookSnapshot(PAIR.id, 9, [(99.0, 1.0)], [(101.0, 2.0)], START + 9)], later)
    report = await signed.checksums.verify()
    assert (report.wrong, report.touched, report.chunks) == ([], 4, 8)
    assert (await signed.checksums.sign()).signed == 4
    whole = await signed.checksums.verify()
    assert (whole.wrong, whole.touched, whole.rows) == ([], 0, report.rows + 1 + 2 + 1 + 9)  # marks of a touched chunk were not compared
    await sql.execute("UPDATE kline_1m SET volume = 1 WHERE open_time = '2024-08-09 00:38:00+00'")  # bar 40
    assert await wrong(signed) == [("kline_1m", "changed", START + 40 * MINUTE)]


async def test_a_row_that_was_changed_before_the_store_wrote_beside_it_is_found_still(signed, sql):
    await sql.execute("UPDATE kline_1m SET close = 100.5 WHERE open_time = '2024-08-09 00:38:00+00'")
    await signed.klines.upsert([bar(7), bar(90, close=101.5)], START + 400 * NS_PER_DAY)
    assert await wrong(signed) == [("kline_1m", "changed", START + 40 * MINUTE)]
    report = await signed.checksums.sign()
    assert (report.signed, [row.at_ns for row in report.wrong]) == (0, [START + 40 * MINUTE])


@pytest.mark.parametrize("seed", range(4))
async def test_versions_in_any_order_leave_what_was_signed_as_it_was(listed_store, seed):
    rng, known = random.Random(seed), START
    for _ in range(6):
        for _ in range(5):
            known += S
            rows = [
                bar(rng.randrange(20), close=rng.choice([100.0, 101.0, 102.0]), source=rng.choice(["venue", "trades", "derived"]))
                for _ in range(6)
            ]
            await listed_store.klines.upsert(rows, known)
        assert (await listed_store.checksums.verify()).wrong == []
        assert (await listed_store.checksums.sign()).wrong == []


async def test_packing_changes_nothing_that_was_signed(signed):
    before = await signed.checksums.verify()
    await compact(signed.pool, Interval.MIN_1, START + 30 * NS_PER_DAY)
    assert await signed.checksums.verify() == before
    await signed.klines.upsert([bar(7)], START + 400 * NS_PER_DAY)  # unpacks the day that it is in
    report = await signed.checksums.verify()
    assert (report.wrong, report.touched) == ([], 1)


@pytest.mark.parametrize("seed", range(12))
async def test_a_flipped_bit_in_a_packed_chunk_is_found(signed, sql, seed):
    await compact(signed.pool, Interval.MIN_1, START + 30 * NS_PER_DAY)
    rng = random.Random(seed)
    low, data = await sql.fetchrow("SELECT low, data FROM kline_packed ORDER BY low DESC LIMIT 1")
    low_ns = START + 2 * MINUTE  # midnight
    bit = rng.randrange(len(data) * 8)
    broken = bytearray(data)
    broken[bit // 8] ^= 1 << bit % 8
    await sql.execute("UPDATE kline_packed SET data = $1 WHERE low = $2", bytes(broken), low)
    (found,) = (await signed.checksums.verify()).wrong
    assert found.noun == "kline_1m"
    assert found.fault in ("unreadable", "changed", "added", "missing"), f"seed {seed}"
    assert found.at_ns >= low_ns, f"seed {seed}"


async def test_packed_chunks_are_compared_with_what_was_packed_where_nothing_is_signed(listed_store, sql):
    await listed_store.klines.upsert([bar(n) for n in range(5)], START)
    await compact(listed_store.pool, Interval.MIN_1, START + 30 * NS_PER_DAY)  # two days: bars 0 and 1, and 2 to 4
    right = await listed_store.checksums.verify()
    assert (right.chunks, right.packed, right.unsigned, right.wrong) == (0, 2, 1, [])
    rows = unpack(await sql.fetchval("SELECT data FROM kline_packed ORDER BY low DESC LIMIT 1"))
    other = rows._replace(volume=rows.volume + 1)
    await sql.execute("UPDATE kline_packed SET data = $1 WHERE low = '2024-08-09'", pack(other))
    report = await listed_store.checksums.verify()
    assert report.packed == 2
    (found,) = report.wrong
    assert (found.noun, found.instrument, found.fault, found.at_ns, found.rows) == (
        "kline_1m",
        PAIR.id,
        "unreadable",
        START + 2 * MINUTE,
        3,
    )
    assert "2024-08-09T00:00:00.000Z to 2024-08-10T00:00:00.000Z" in found.said
    elsewhere = await listed_store.checksums.verify([PERP.id])
    assert (elsewhere.packed, elsewhere.wrong) == (0, [])
    assert (await listed_store.checksums.verify(nouns=["kline_5m"])).packed == 0
    assert [row.fault for row in (await listed_store.checksums.sign()).wrong] == ["unreadable"]


async def test_what_cannot_be_read_is_not_signed(listed_store, sql):
    await listed_store.klines.upsert([bar(n) for n in range(5)], START)
    await compact(listed_store.pool, Interval.MIN_1, START + 30 * NS_PER_DAY)
    await sql.execute("UPDATE kline_packed SET data = '\\x00' WHERE low = '2024-08-09'")
    report = await listed_store.checksums.sign()
    assert (report.signed, [(row.fault, row.at_ns) for row in report.wrong]) == (0, [("unreadable", START + 2 * MINUTE)])


async def test_a_young_chunk_is_left_to_settle(listed_store):
    now = await listed_store.pool.run("ask", lambda c: c.fetchval("SELECT now()"))
    today = now // NS_PER_DAY * NS_PER_DAY
    await listed_store.trades.append([trade(0, event_ns=today), trade(1, event_ns=today - 3 * NS_PER_DAY)], now)
    assert (await listed_store.checksums.sign(nouns=["trade"])).signed == 1
    report = await listed_store.checksums.verify(nouns=["trade"])
    assert (report.chunks, report.unsigned) == (1, 0)  # today's is not over


async def test_a_chunk_is_not_signed_with_rows_that_a_write_under_way_adds(listed_store, database_url):
    """Whoever began to write before holds the lock that signing waits for; whoever writes later takes the mark away."""
    store = listed_store
    await store.klines.upsert([bar(n) for n in range(10)], START)
    writer = await asyncpg.connect(database_url, server_settings={"application_name": "zvt-crypto"})
    copied = "instrument_id, trades, open_time + interval '1 hour', known_at, open, high, low, close, volume, turnover, source, final"
    async with writer.transaction():
        await writer.execute(f"INSERT INTO kline_1m SELECT {copied} FROM kline_1m")
        signing = asyncio.create_task(store.checksums.sign())
        await asyncio.sleep(0.2)
        assert not signing.done()
    await writer.close()
    report = await signing
    assert report.wrong == []
    await store.checksums.sign()
    after = await store.checksums.verify()
    assert (after.wrong, after.touched, after.rows) == ([], 0, 20)


def test_every_table_has_the_unit_that_its_triggers_have():
    from zvt_crypto.stores.postgres.migrations.versions import r0009_provenance as revision

    units = {f"kline_{slug}": unit for slug, unit in revision.BARS.items()} | revision.EVENTS
    assert {name: noun.unit for name, noun in NOUNS.items()} == units
    assert {name for name, noun in NOUNS.items() if noun.appended} == set(revision.APPENDED)
