"""The same schema on TimescaleDB: divided tables become hypertables while they are empty, and policies become the extension's own.

Keys hold the time already, as a hypertable wants it. The Apache edition divides and no more: there the packed form keeps old rows small.
"""

# ruff: noqa: S608 - statements are built from names of this package and of the server's own catalogue

from __future__ import annotations

from functools import partial

from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.stores.postgres.features import find_features
from zvt_crypto.stores.postgres.partitions import list_partitions
from zvt_crypto.stores.postgres.policies import TARGETS, Policy, Target, read_policies
from zvt_crypto.stores.postgres.pool import Connection, Pool

_DIVIDED = ("kline_1m", "kline_5m", "kline_15m", "kline_30m", "trade", "book_log")
# What a longer interval is aggregated to by the extension, from minutes; for those who read with SQL.
_AGGREGATES = {"1h": "1 hour", "1d": "1 day"}
_TRIGGERS = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal ORDER BY tgname"
_VIEWS = """
SELECT DISTINCT v.relname, pg_get_viewdef(v.oid)
FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
WHERE d.refobjid = $1::regclass AND d.classid = 'pg_rewrite'::regclass AND v.relkind = 'v' ORDER BY 1
"""
_INDEXES = """
SELECT c.relname, i.indisprimary, pg_get_indexdef(c.oid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::regclass ORDER BY 1
"""


async def make_hypertables(pool: Pool) -> list[str]:
    """Of all divided tables that hold nothing yet. Returns their names. Raises Unsupported where the extension is not in this database."""
    features = await pool.run("ask for TimescaleDB", find_features)
    if not features.has_timescale:
        how = "CREATE EXTENSION timescaledb" if features.available else "this server does not have it"
        raise Unsupported(f"the database has no TimescaleDB: {how}")
    made = [name for name in _DIVIDED if await pool.write(f"make a hypertable of {name}", partial(_make, target=TARGETS[name]))]
    if features.license == "timescale":
        await pool.write("set up compression", lambda connection: _enable_compression(connection, made))
    return made


async def apply_policies(connection: Connection) -> list[Policy]:
    """Make the policies of hypertables the extension's own; returns those. Where the edition has none: nothing."""
    features = await find_features(connection)
    if not features.compresses:
        return []
    applied = []
    for name in features.hypertables:
        if name not in _DIVIDED:
            continue
        held = {each.action: each for each in await read_policies(connection) if each.target == name}
        for action, job in (("compact", "compression"), ("retain", "retention")):
            await connection.execute(f"SELECT remove_{job}_policy('{name}', if_exists => true)")
            if action in held:
                await connection.execute(f"SELECT add_{job}_policy('{name}', interval '{held[action].days} days')")
                applied.append(held[action])
    return applied


async def compress_old(pool: Pool, target: Target, before_ns: int) -> int:
    """Compress the chunks of a hypertable that ended by then, now; returns how many. The full edition only."""

    async def work(connection: Connection) -> int:
        text = "SELECT is_compressed FROM timescaledb_information.chunks WHERE format('%I.%I', chunk_schema, chunk_name) = $1"
        count = 0
        for each in await list_partitions(connection, target.table):
            if each.high_ns <= before_ns and not await connection.fetchval(text, each.name):
                await connection.execute("SELECT compress_chunk($1::text::regclass)", each.name)
                count += 1
        return count

    return await pool.run(f"compress {target.table}", work)


async def decompress(connection: Connection, chunk: str) -> None:
    """Make plain rows of a compressed chunk; others are left as they are."""
    text = "SELECT is_compressed FROM timescaledb_information.chunks WHERE format('%I.%I', chunk_schema, chunk_name) = $1"
    if await connection.fetchval(text, chunk):
        await connection.execute("SELECT decompress_chunk($1::text::regclass)", chunk)


async def make_aggregates(pool: Pool) -> list[str]:
    """Continuous aggregates of final minutes, refreshed by the extension: `kline_1m_as_1h`, `kline_1m_as_1d`. The full edition only.

    They know nothing of precedence or of holes: the served longer klines are those of the tables.
    """
    features = await pool.run("ask for TimescaleDB", find_features)
    if not features.compresses:
        raise Unsupported("this edition of TimescaleDB has no continuous aggregates; longer klines are rolled without them")

    async def work(connection: Connection) -> list[str]:
        made = []
        for slug, width in _AGGREGATES.items():
            name = f"kline_1m_as_{slug}"
            if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                await connection.execute(f"""
                    CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous) AS
                    SELECT instrument_id, time_bucket(interval '{width}', open_time) AS open_time, first(open, open_time) AS open,
                           max(high) AS high, min(low) AS low, last(close, open_time) AS close, sum(volume) AS volume, count(*) AS minutes
                    FROM kline_1m WHERE final GROUP BY 1, 2 WITH NO DATA""")
                await connection.execute(f"""
                    SELECT add_continuous_aggregate_policy('{name}', start_offset => interval '7 days', end_offset => interval '{width}',
                                                           schedule_interval => interval '{width}')""")
                made.append(name)
        return made

    return await pool.run("make continuous aggregates", work)


async def _make(connection: Connection, target: Target) -> bool:
    """A hypertable of the same columns, checks, key, triggers and views. False where it holds rows, or is one already."""
    name = target.table
    kind = await connection.fetchval("SELECT relkind FROM pg_class WHERE oid = to_regclass($1)", name)
    if kind != b"p" or await list_partitions(connection, name):
        return False
    triggers = _without_deleted_rows([row[0] for row in await connection.fetch(_TRIGGERS, name)])
    views = await connection.fetch(_VIEWS, name)
    indexes = await connection.fetch(_INDEXES, name)
    for view, _ in views:
        await connection.execute(f"DROP VIEW {view}")
    await connection.execute(f"ALTER TABLE {name} RENAME TO {name}_divided")
    await connection.execute(f"CREATE TABLE {name} (LIKE {name}_divided INCLUDING ALL EXCLUDING INDEXES)")
    text = "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype = 'p'"
    key = await connection.fetchval(text, f"{name}_divided")
    await connection.execute(f"DROP TABLE {name}_divided")
    await connection.execute(f"ALTER TABLE {name} ADD CONSTRAINT {name}_pkey {key}")
    width = "1 day" if target.unit_of(0)[1] < 2 * 86_400 * 10**9 else "30 days"
    await connection.execute(
        f"SELECT create_hypertable('{name}', '{target.time}', chunk_time_interval => interval '{width}', create_default_indexes => false)"
    )
    for statement in [row[2] for row in indexes if not row[1]] + triggers:
        await connection.execute(statement.replace(f"{name}_divided", name).replace(f"ON ONLY public.{name} ", f"ON public.{name} "))
    for view, text in views:
        await connection.execute(f"CREATE VIEW {view} AS {text}")
    return True


def _without_deleted_rows(triggers: list[str]) -> list[str]:
    """Compression forbids triggers that are shown the rows of a DELETE: they do what they do when all rows go."""
    emptied = next((text.partition(" EXECUTE ")[2] for text in triggers if " AFTER TRUNCATE " in text), None)
    made = []
    for text in triggers:
        if " AFTER DELETE " in text and emptied is not None:
            head = text.partition(" REFERENCING ")[0]
            made.append(f"{head} FOR EACH STATEMENT EXECUTE {emptied}")
        else:
            made.append(text)
    return made


async def _enable_compression(connection: Connection, tables: list[str]) -> None:
    for name in tables:
        await connection.execute(
            f"ALTER TABLE {name} SET (timescaledb.compress, timescaledb.compress_segmentby = 'instrument_id', "
            f"timescaledb.compress_orderby = '{TARGETS[name].time}')"
        )
