"""What changed: a token for each instrument, interval and month, made anew by whatever touches a row of it.

Revision ID: 0012
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SLUGS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w", "1mon")
PARTITIONED = SLUGS[:4]

# A copy of a month (a file, a list in memory) is the month as long as its token is. Tokens are random, not counted: one that is read back
# after a restore is of the rows that were restored with it. Whoever changes a month holds its row until he commits, so that two writers
# cannot leave one token behind; months are touched in one order.
TABLE = """
CREATE TABLE kline_change (
    instrument_id   INTEGER NOT NULL,
    slug            TEXT COLLATE "C" NOT NULL,
    month           TIMESTAMPTZ NOT NULL,
    token           UUID NOT NULL DEFAULT gen_random_uuid(),
    PRIMARY KEY (instrument_id, slug, month)
) WITH (fillfactor = 50);

CREATE FUNCTION zvt_touch_klines(of_slug TEXT, of_instrument INTEGER, low TIMESTAMPTZ, high TIMESTAMPTZ) RETURNS void LANGUAGE sql AS $$
    INSERT INTO kline_change (instrument_id, slug, month)
    SELECT of_instrument, of_slug, m AT TIME ZONE 'UTC'
    FROM generate_series(date_trunc('month', low AT TIME ZONE 'UTC'), high AT TIME ZONE 'UTC', interval '1 month') m
    ORDER BY m
    ON CONFLICT (instrument_id, slug, month) DO UPDATE SET token = gen_random_uuid()
$$;

CREATE FUNCTION zvt_klines_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO kline_change (instrument_id, slug, month)
    SELECT t.instrument_id, TG_ARGV[0], m AT TIME ZONE 'UTC'
    FROM (SELECT instrument_id, min(open_time) AS low, max(open_time) AS high FROM touched GROUP BY instrument_id) t
    CROSS JOIN LATERAL generate_series(date_trunc('month', t.low AT TIME ZONE 'UTC'), t.high AT TIME ZONE 'UTC', interval '1 month') m
    ORDER BY 1, 3
    ON CONFLICT (instrument_id, slug, month) DO UPDATE SET token = gen_random_uuid();
    RETURN NULL;
END $$;

CREATE FUNCTION zvt_klines_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE kline_change SET token = gen_random_uuid() WHERE TG_NARGS = 0 OR slug = TG_ARGV[0];
    RETURN NULL;
END $$;

CREATE FUNCTION zvt_chunk_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM zvt_touch_klines(OLD.slug, OLD.instrument_id, OLD.first_open, OLD.last_open);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM zvt_touch_klines(NEW.slug, NEW.instrument_id, NEW.first_open, NEW.last_open);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER tells_changes AFTER INSERT OR UPDATE OR DELETE ON kline_packed
    FOR EACH ROW EXECUTE FUNCTION zvt_chunk_changed();

CREATE TRIGGER tells_truncates AFTER TRUNCATE ON kline_packed
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_klines_emptied();

CREATE FUNCTION zvt_watch_klines(of_table TEXT, of_slug TEXT) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER tells_inserts AFTER INSERT ON %I REFERENCING NEW TABLE AS touched '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_klines_changed(%L)', of_table, of_slug);
    EXECUTE format('CREATE TRIGGER tells_updates AFTER UPDATE ON %I REFERENCING NEW TABLE AS touched '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_klines_changed(%L)', of_table, of_slug);
    EXECUTE format('CREATE TRIGGER tells_deletes AFTER DELETE ON %I REFERENCING OLD TABLE AS touched '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_klines_changed(%L)', of_table, of_slug);
    EXECUTE format('CREATE TRIGGER tells_truncates AFTER TRUNCATE ON %I '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_klines_emptied(%L)', of_table, of_slug);
END $$;

ALTER FUNCTION zvt_add_partition(TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ) RENAME TO zvt_add_plain_partition;

CREATE FUNCTION zvt_add_partition(parent TEXT, name TEXT, low TIMESTAMPTZ, high TIMESTAMPTZ) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM zvt_add_plain_partition(parent, name, low, high);
    IF starts_with(parent, 'kline_') AND to_regclass(quote_ident(name)) IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = to_regclass(quote_ident(name)) AND tgname = 'tells_inserts') THEN
        PERFORM zvt_watch_klines(name, substr(parent, 7));
    END IF;
END $$
"""

PARTITIONS_OF = """
SELECT {act} FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'kline_{slug}'::regclass
"""


def upgrade() -> None:
    """Create. Triggers are the catalogue's alone: no row is read."""
    _run(TABLE)
    for slug in SLUGS:
        _run(f"SELECT zvt_watch_klines('kline_{slug}', '{slug}')")
    for slug in PARTITIONED:
        _run(PARTITIONS_OF.format(slug=slug, act=f"zvt_watch_klines(c.relname, '{slug}')"))


def downgrade() -> None:
    """Drop; every copy is worthless then, and nobody asks for one."""
    tables = [f"kline_{slug}" for slug in SLUGS]
    for slug in PARTITIONED:
        found = op.get_bind().exec_driver_sql(PARTITIONS_OF.format(slug=slug, act="quote_ident(c.relname)"))
        tables += [row[0] for row in found]
    for table in tables:
        for name in ("tells_inserts", "tells_updates", "tells_deletes", "tells_truncates"):
            _run(f"DROP TRIGGER IF EXISTS {name} ON {table}")
    _run(
        "DROP TRIGGER tells_changes ON kline_packed;\n\nDROP TRIGGER tells_truncates ON kline_packed;\n\n"
        "DROP FUNCTION zvt_add_partition(TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ);\n\n"
        "ALTER FUNCTION zvt_add_plain_partition(TEXT, TEXT, TIMESTAMPTZ, TIMESTAMPTZ) RENAME TO zvt_add_partition;\n\n"
        "DROP FUNCTION zvt_klines_changed(), zvt_klines_emptied(), zvt_chunk_changed(), zvt_watch_klines(TEXT, TEXT), "
        "zvt_touch_klines(TEXT, INTEGER, TIMESTAMPTZ, TIMESTAMPTZ);\n\n"
        "DROP TABLE kline_change"
    )


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
