"""Every constraint and reference of the schema refuses what it must, whoever writes; and none is missing from this table."""

from __future__ import annotations

import asyncpg
import pytest

SETUP = """
INSERT INTO asset (id, exchange, symbol, created_at) VALUES ('crypto_x_btc', 'x', 'BTC', now()), ('crypto_x_usdt', 'x', 'USDT', now());
INSERT INTO instrument (id, kind, exchange, native_symbol, base_asset, quote_asset, created_at)
    VALUES ('cryptopair_x_btcusdt', 'pair', 'x', 'BTCUSDT', 1, 2, now());
SELECT zvt_add_partition('kline_1m', 'kline_1m_202401', '2024-01-01', '2024-02-01');
SELECT zvt_add_partition('trade', 'trade_20240101', '2024-01-01', '2024-01-02');
"""


def asset(name="crypto_x_eth", exchange="x", symbol="ETH") -> str:
    return f"INSERT INTO asset (id, exchange, symbol, created_at) VALUES ('{name}', '{exchange}', '{symbol}', now())"


def asset_fact(key=1, field="full_name", value="'Bitcoin'") -> str:
    return f"INSERT INTO asset_fact (asset_key, field, value, source, valid_from, known_at) VALUES ({key}, '{field}', {value}, 's', now(), now())"


def instrument(name="cryptoperp_x_btcusdt", kind="perp", native="BTCUSDT", base=1, quote=2, underlying="1", settlement="2") -> str:
    return (
        "INSERT INTO instrument (id, kind, exchange, native_symbol, base_asset, quote_asset, underlying, settlement, created_at) "
        f"VALUES ('{name}', '{kind}', 'x', '{native}', {base}, {quote}, {underlying}, {settlement}, now())"
    )


def fact(field="tick", value="'0.01'", key=1) -> str:
    return (
        f"INSERT INTO instrument_fact (instrument_id, field, value, valid_from, known_at) VALUES ({key}, '{field}', {value}, now(), now())"
    )


def kline(table="kline_1m", key=1, at="2024-01-01 00:00:00", prices="10, 12, 9, 11", volume="1", turnover="1", trades="1", source=4) -> str:
    return (
        f"INSERT INTO {table} (instrument_id, open_time, known_at, open, high, low, close, volume, turnover, trades, source, final) "
        f"VALUES ({key}, '{at}+00', now(), {prices}, {volume}, {turnover}, {trades}, {source}, true)"
    )


def trade(key=1, stream=1, rest=0, price="1", quantity="1", name="1", table="trade") -> str:
    return (
        f"INSERT INTO {table} (instrument_id, stream, event_ns_rest, event_time, known_at, price, quantity, taker_buys, venue_trade_id) "
        f"VALUES ({key}, {stream}, {rest}, '2024-01-01 00:00:00+00', now(), {price}, {quantity}, true, '{name}')"
    )


def funding(key=1, rate="0.0001", mark="100") -> str:
    return (
        f"INSERT INTO funding (instrument_id, event_time, known_at, rate, mark_price) VALUES ({key}, '2024-01-01', now(), {rate}, {mark})"
    )


def mark(key=1, price="100", index="100", rate="0.0001") -> str:
    return (
        "INSERT INTO mark (instrument_id, event_time, known_at, mark_price, index_price, funding_rate) "
        f"VALUES ({key}, '2024-01-01', now(), {price}, {index}, {rate})"
    )


def book(key=1, rest=0, bids="{99}", bid_sizes="{1}", asks="{100}", ask_sizes="{1}") -> str:
    return (
        "INSERT INTO book_snapshot (instrument_id, event_ns_rest, event_time, known_at, last_id, bid_prices, bid_sizes, ask_prices, ask_sizes) "
        f"VALUES ({key}, {rest}, '2024-01-01', now(), 7, '{bids}', '{bid_sizes}', '{asks}', '{ask_sizes}')"
    )


def gap(key=1, channel="trade", end="2024-01-02", first="1", last="2", interval="NULL") -> str:
    return (
        "INSERT INTO gap (instrument_id, channel, start_time, end_time, first_id, last_id, reason, event_time, known_at, kline_interval) "
        f"VALUES ({key}, '{channel}', '2024-01-01', '{end}', {first}, {last}, 'r', now(), now(), {interval})"
    )


def revision(key=1, slug="1m") -> str:
    return (
        "INSERT INTO kline_revision (slug, served, recorded_at, instrument_id, open_time, known_at, open, high, low, close, volume, source, final) "
        f"VALUES ('{slug}', true, now(), {key}, '2024-01-01', now(), 10, 12, 9, 11, 1, 4, true)"
    )


def packed(key=1, slug="1m", rows=1, first="2024-01-01", digest="\\x00112233445566778899aabbccddeeff") -> str:
    return (
        "INSERT INTO kline_packed (instrument_id, slug, low, high, row_count, first_open, last_open, packed_at, by_source, digest, data) "
        f"VALUES ({key}, '{slug}', '2024-01-01', '2024-01-02', {rows}, '{first}', '2024-01-01', now(), '{{}}', '{digest}', '')"
    )


def policy(action="retain", days=1) -> str:
    return f"INSERT INTO storage_policy (target, action, days, set_at) VALUES ('trade', '{action}', {days}, now())"


def log(
    start="2024-01-01", until="2024-01-01 01:00", start_rest=0, until_rest=0, events=1, digest="\\x00112233445566778899aabbccddeeff"
) -> list[str]:
    partition = "SELECT zvt_add_partition('book_log', 'book_log_202401', '2024-01-01', '2024-01-02')"
    row = (
        "INSERT INTO book_log (instrument_id, start_ns_rest, until_ns_rest, form, start_time, until_time, known_at, first_id, last_id, "
        f"event_count, digest, data) VALUES (1, {start_rest}, {until_rest}, 1, '{start}', '{until}', now(), 1, 1, {events}, '{digest}', '')"
    )
    return [partition, row]


def late(key=1) -> str:
    return f"INSERT INTO trade_late (instrument_id, stream, open_time, marked_at) VALUES ({key}, 1, '2024-01-01', now())"


def checksum(key=1, digest="'\\x00'", prints="'\\x00'") -> str:
    return (
        "INSERT INTO chunk_checksum (noun, instrument_id, low, high, known_until, row_count, signed_at, digest, prints) "
        f"VALUES ('trade', {key}, '2024-01-01', '2024-01-02', now(), 1, now(), {digest}, {prints})"
    )


def due(key=1) -> str:
    return f"INSERT INTO rollup_due (instrument_id, day, marked_at) VALUES ({key}, '2024-01-01', now())"


CHANGE = "INSERT INTO kline_change (instrument_id, slug, month) VALUES (1, '1m', '2024-01-01')"
ARCHIVED = (
    "INSERT INTO archived (target, low, high, place, row_count, size_bytes, removed, archived_at) "
    "VALUES ('trade', '2024-01-01', '2024-01-02', '/a', 1, 1, false, now())"
)

# table, name of the constraint → a statement that it refuses, or several of which it refuses the last.
KLINE_RULES = {
    "price_above_zero": {"prices": "0, 12, 0, 11"},
    "high_not_below_low": {"prices": "10, 8, 9, 11"},
    "open_close_within": {"prices": "13, 12, 9, 11"},
    "volume_not_negative": {"volume": "-1"},
    "turnover_not_negative": {"turnover": "-1"},
    "trades_not_negative": {"trades": "-1"},
    "source_known": {"source": 5},
}
GRID_MISS = {
    "1m": "2024-01-01 00:00:01",
    "5m": "2024-01-01 00:01:00",
    "15m": "2024-01-01 00:05:00",
    "30m": "2024-01-01 00:15:00",
    "1h": "2024-01-01 00:30:00",
    "4h": "2024-01-01 01:00:00",
    "1d": "2024-01-01 12:00:00",
    "1w": "2024-01-02 00:00:00",
    "1mon": "2024-01-02 00:00:00",
}
TRIPS: dict[tuple[str, str], list[str]] = {
    ("asset", "asset_id_unique"): [asset(name="crypto_x_btc")],
    ("asset", "asset_symbol_unique"): [asset(symbol="BTC")],
    ("asset", "asset_symbol_given"): [asset(symbol="")],
    ("asset_fact", "asset_fact_asset"): [asset_fact(key=99)],
    ("asset_fact", "asset_fact_field"): [asset_fact(field="mood")],
    ("instrument", "instrument_id_unique"): [instrument(name="cryptopair_x_btcusdt")],
    ("instrument", "instrument_kind"): [instrument(kind="option")],
    ("instrument", "instrument_native_given"): [instrument(native="")],
    ("instrument", "instrument_base"): [instrument(base=99)],
    ("instrument", "instrument_quote"): [instrument(quote=99)],
    ("instrument", "instrument_underlying"): [instrument(underlying="99")],
    ("instrument", "instrument_settlement"): [instrument(settlement="99")],
    ("instrument", "instrument_contract"): [instrument(kind="perp", settlement="NULL")],
    ("instrument_fact", "instrument_fact_instrument"): [fact(key=99)],
    ("instrument_fact", "instrument_fact_field"): [fact(field="mood")],
    ("instrument_fact", "instrument_fact_status"): [fact("status", "'asleep'")],
    ("instrument_fact", "instrument_fact_step"): [fact("tick", "'0'")],
    ("instrument_fact", "instrument_fact_least"): [fact("min_notional", "'-1'")],
    ("instrument_fact", "instrument_fact_teller"): [fact("delisted_by", "'nobody'")],
    ("instrument_fact", "instrument_fact_time"): [fact("listed_ns", "'-1'")],
    ("kline_revision", "kline_revision_slug"): [revision(slug="2m")],
    ("kline_revision", "kline_revision_instrument"): [revision(key=99)],
    ("trade", "trade_pkey"): [trade(), trade()],
    ("trade", "trade_stream"): [trade(stream=3)],
    ("trade", "trade_ns_rest"): [trade(rest=1000)],
    ("trade", "price_above_zero"): [trade(price="0")],
    ("trade", "quantity_above_zero"): [trade(quantity="'NaN'")],
    ("trade", "trade_id_given"): [trade(name="")],
    ("funding", "funding_pkey"): [funding(), funding()],
    ("funding", "funding_instrument"): [funding(key=99)],
    ("funding", "rate_finite"): [funding(rate="'NaN'")],
    ("funding", "mark_above_zero"): [funding(mark="0")],
    ("mark", "mark_pkey"): [mark(), mark()],
    ("mark", "mark_instrument"): [mark(key=99)],
    ("mark", "mark_above_zero"): [mark(price="0")],
    ("mark", "index_above_zero"): [mark(index="-1")],
    ("mark", "rate_finite"): [mark(rate="'Infinity'")],
    ("book_snapshot", "book_snapshot_pkey"): [book(), book()],
    ("book_snapshot", "book_instrument"): [book(key=99)],
    ("book_snapshot", "book_ns_rest"): [book(rest=-1)],
    ("book_snapshot", "book_sides_match"): [book(bid_sizes="{1,2}")],
    ("book_snapshot", "book_levels_above_zero"): [book(ask_sizes="{0}")],
    ("book_snapshot", "book_not_crossed"): [book(bids="{100}")],
    ("kline_packed", "kline_packed_pkey"): [packed(), packed()],
    ("kline_packed", "kline_packed_instrument"): [packed(key=99)],
    ("kline_packed", "kline_packed_slug"): [packed(slug="1d")],
    ("kline_packed", "kline_packed_rows"): [packed(rows=0)],
    ("kline_packed", "kline_packed_span"): [packed(first="2023-12-31")],
    ("kline_packed", "kline_packed_digest"): [packed(digest="\\x00")],
    ("packed_mark", "packed_mark_pkey"): ["INSERT INTO packed_mark (noun, until) VALUES ('1m', now())"],
    ("storage_policy", "storage_policy_pkey"): [policy(), policy()],
    ("storage_policy", "storage_policy_action"): [policy(action="forget")],
    ("storage_policy", "storage_policy_days"): [policy(days=0)],
    ("archived", "archived_pkey"): [ARCHIVED, ARCHIVED],
    ("kline_change", "kline_change_pkey"): [CHANGE, CHANGE],
    ("book_log", "book_log_pkey"): [*log(), *log()],
    ("book_log", "book_log_start_rest"): log(start_rest=1000),
    ("book_log", "book_log_until_rest"): log(until_rest=-1),
    ("book_log", "book_log_events"): log(events=0),
    ("book_log", "book_log_digest"): log(digest="\\x00"),
    ("book_log", "book_log_span"): log(until="2023-12-31"),
    ("trade_late", "trade_late_pkey"): [late(), late()],
    ("trade_late", "trade_late_instrument"): [late(key=99)],
    ("chunk_checksum", "chunk_checksum_pkey"): [checksum(), checksum()],
    ("chunk_checksum", "chunk_checksum_instrument"): [checksum(key=99)],
    ("chunk_checksum", "chunk_checksum_whole"): [checksum(prints="NULL")],
    ("rollup_due", "rollup_due_pkey"): [due(), due()],
    ("rollup_due", "rollup_due_instrument"): [due(key=99)],
    ("gap", "gap_once"): [gap(first="NULL"), gap(first="NULL")],
    ("gap", "gap_instrument"): [gap(key=99)],
    ("gap", "gap_channel"): [gap(channel="rumours")],
    ("gap", "gap_range"): [gap(end="2023-12-31")],
    ("gap", "gap_ids"): [gap(first="3")],
    ("gap", "gap_interval"): [gap(channel="kline", interval="'2m'")],
    ("gap", "gap_interval_of_klines"): [gap(interval="'1m'")],
}
for slug, miss in GRID_MISS.items():
    table = f"kline_{slug}"
    TRIPS[table, "open_on_grid"] = [kline(table, at=miss)]
    TRIPS[table, f"{table}_pkey"] = [kline(table), kline(table)]
    TRIPS |= {(table, rule): [kline(table, **wrong)] for rule, wrong in KLINE_RULES.items()}
TRIPS |= {("kline_revision", rule): [revision().replace("10, 12, 9, 11, 1, 4", "0, 12, 0, 11, 1, 4")] for rule in ("price_above_zero",)}
REVISION_WRONG = {
    "high_not_below_low": "10, 8, 9, 11, 1, 4",
    "open_close_within": "13, 12, 9, 11, 1, 4",
    "volume_not_negative": "10, 12, 9, 11, -1, 4",
    "source_known": "10, 12, 9, 11, 1, 9",
}
TRIPS |= {("kline_revision", rule): [revision().replace("10, 12, 9, 11, 1, 4", row)] for rule, row in REVISION_WRONG.items()}
for column in ("turnover", "trades"):
    text = revision().replace("source, final", f"source, final, {column}").replace("4, true)", "4, true, -1)")
    TRIPS["kline_revision", f"{column}_not_negative"] = [text]

LEASE = "INSERT INTO lease VALUES ('shard', 'holder', {token}, now())"
TRIPS |= {
    ("lease", "lease_token_positive"): [LEASE.format(token=0)],
    ("lease", "lease_pkey"): [LEASE.format(token=1), LEASE.format(token=2)],
    ("feed_position", "feed_position_pkey"): ["INSERT INTO feed_position (shard, mark) VALUES (1, 'a')"] * 2,
}

# Keys that the server itself draws: nobody can write them.
DRAWN = {"asset_pkey", "asset_fact_pkey", "instrument_pkey", "instrument_fact_pkey", "kline_revision_pkey", "gap_pkey"}


@pytest.fixture
async def rows(sql: asyncpg.Connection) -> asyncpg.Connection:
    await sql.execute(SETUP)
    for slug in ("5m", "15m", "30m"):
        await sql.execute(f"SELECT zvt_add_partition('kline_{slug}', 'kline_{slug}_202401', '2024-01-01', '2024-02-01')")
    return sql


async def test_each_rule_refuses_what_it_must_and_names_itself(rows):
    for (table, rule), statements in TRIPS.items():
        transaction = rows.transaction()
        await transaction.start()
        for statement in statements[:-1]:
            await rows.execute(statement)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await rows.execute(statements[-1])
        assert refused.value.constraint_name in (rule, rule.replace(table, f"{table}_202401"), rule.replace("trade", "trade_20240101")), (
            table,
            rule,
        )
        await transaction.rollback()


async def test_no_rule_of_the_schema_is_without_a_test(rows):
    held = await rows.fetch("""
        SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
        WHERE connamespace = 'public'::regnamespace AND contype <> 'n' AND NOT relispartition AND relname <> 'alembic_version'
        UNION SELECT 'gap', relname FROM pg_class WHERE relname = 'gap_once'""")
    assert {(row[0], row[1]) for row in held if row[1] not in DRAWN} == TRIPS.keys()


async def test_right_rows_are_accepted(rows):
    for slug in GRID_MISS:
        await rows.execute(kline(f"kline_{slug}"))
    for statement in (asset(), asset_fact(), instrument(), fact(), trade(), funding(), mark(), book(), gap(), revision()):
        await rows.execute(statement)
    await rows.execute(book(bids="{}", bid_sizes="{}").replace(", 7,", ", 8,"))


@pytest.mark.parametrize("table", ["trade", "trade_20240101", "kline_1m_202401", *(f"kline_{slug}" for slug in GRID_MISS)])
async def test_rows_of_unknown_instruments_are_refused_at_the_table_and_at_its_partitions(rows, table):
    statement = trade(key=99, table=table) if table.startswith("trade") else kline(table, key=99)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="unknown instrument") as refused:
        await rows.execute(statement)
    assert refused.value.constraint_name == "known_instrument"


APPEND_ONLY = ("asset", "asset_fact", "instrument", "instrument_fact", "kline_revision")


@pytest.mark.parametrize("table", APPEND_ONLY)
async def test_append_only_tables_refuse_every_change(rows, table):
    for statement in (asset_fact(), fact(), revision()):
        await rows.execute(statement)
    column = "created_at" if table in ("asset", "instrument") else "known_at"
    for change in (f"UPDATE {table} SET {column} = now()", f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE"):
        with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
            await rows.execute(change)


@pytest.mark.parametrize(
    "statement", ["UPDATE kline_1m SET instrument_id = 2", "UPDATE kline_1m_202401 SET open_time = now()", "UPDATE trade SET price = 2"]
)
async def test_what_a_row_is_about_never_changes(rows, statement):
    await rows.execute(kline())
    await rows.execute(trade())
    with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
        await rows.execute(statement)


async def test_a_final_kline_changed_by_anybody_leaves_its_old_version_behind(rows):
    await rows.execute(kline())
    await rows.execute("UPDATE kline_1m SET close = 9.5, known_at = '2024-06-01'")
    kept = await rows.fetchrow("SELECT slug, served, close, recorded_at::text FROM kline_revision")
    assert tuple(kept) == ("1m", True, 11.0, "2024-06-01 00:00:00+00")


async def test_a_kline_reaches_its_assets_through_its_pair(rows):
    await rows.execute(kline())
    joined = await rows.fetchrow("""
        SELECT b.id, q.id FROM kline_1m JOIN instrument USING (instrument_id)
        JOIN asset b ON b.asset_key = base_asset JOIN asset q ON q.asset_key = quote_asset""")
    assert tuple(joined) == ("crypto_x_btc", "crypto_x_usdt")


async def test_an_asset_that_a_pair_refers_to_cannot_go(rows):
    await rows.execute("ALTER TABLE asset DISABLE TRIGGER asset_append_only")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await rows.execute("DELETE FROM asset WHERE symbol = 'BTC'")
