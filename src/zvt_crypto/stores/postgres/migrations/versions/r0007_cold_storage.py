"""Cold storage: packed chunks of klines, policies, and what was archived. And of which days longer klines are to be made again.

Revision ID: 0007
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# `digest` is over the rows themselves, not over how they are packed. `data` is compressed already: the server need not try.
UPGRADE = """
CREATE TABLE kline_packed (
    instrument_id   INTEGER NOT NULL CONSTRAINT kline_packed_instrument REFERENCES instrument,
    slug            TEXT COLLATE "C" NOT NULL CONSTRAINT kline_packed_slug CHECK (slug IN ('1m', '5m', '15m', '30m', '1h', '4h')),
    row_count       INTEGER NOT NULL CONSTRAINT kline_packed_rows CHECK (row_count > 0),
    low             TIMESTAMPTZ NOT NULL,
    high            TIMESTAMPTZ NOT NULL,
    first_open      TIMESTAMPTZ NOT NULL,
    last_open       TIMESTAMPTZ NOT NULL,
    packed_at       TIMESTAMPTZ NOT NULL,
    by_source       INTEGER[] NOT NULL,
    digest          BYTEA NOT NULL CONSTRAINT kline_packed_digest CHECK (length(digest) = 16),
    data            BYTEA NOT NULL,
    CONSTRAINT kline_packed_span CHECK (low <= first_open AND first_open <= last_open AND last_open < high),
    PRIMARY KEY (instrument_id, slug, low)
);

COMMENT ON TABLE kline_packed IS 'final klines of [low, high) of one instrument and interval, which the table kline_{slug} does not hold';

ALTER TABLE kline_packed ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TABLE packed_mark (
    noun    TEXT COLLATE "C" PRIMARY KEY,
    until   TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50);

COMMENT ON TABLE packed_mark IS 'from this time on nothing of the noun was ever packed: whoever reads or writes later rows need not look';

INSERT INTO packed_mark (noun, until)
SELECT noun, '1970-01-01 00:00:00+00' FROM unnest(ARRAY['1m', '5m', '15m', '30m', '1h', '4h']) noun;

CREATE TABLE storage_policy (
    target  TEXT COLLATE "C" NOT NULL,
    action  TEXT COLLATE "C" NOT NULL CONSTRAINT storage_policy_action CHECK (action IN ('compact', 'retain')),
    days    INTEGER NOT NULL CONSTRAINT storage_policy_days CHECK (days > 0),
    set_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (target, action)
);

CREATE TABLE archived (
    target      TEXT COLLATE "C" NOT NULL,
    low         TIMESTAMPTZ NOT NULL,
    high        TIMESTAMPTZ NOT NULL,
    place       TEXT NOT NULL,
    row_count   BIGINT NOT NULL,
    size_bytes  BIGINT NOT NULL,
    removed     BOOLEAN NOT NULL,
    archived_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (target, low, place)
);

CREATE TABLE rollup_due (
    instrument_id   INTEGER NOT NULL CONSTRAINT rollup_due_instrument REFERENCES instrument,
    day             TIMESTAMPTZ NOT NULL,
    marked_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instrument_id, day)
);

COMMENT ON TABLE rollup_due IS 'days of which minutes (or the day itself) came late or were corrected: longer klines are to be made again';

CREATE OR REPLACE FUNCTION zvt_add_partition(parent TEXT, name TEXT, low TIMESTAMPTZ, high TIMESTAMPTZ) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- A hypertable divides itself.
    IF (SELECT relkind FROM pg_class WHERE oid = to_regclass(quote_ident(parent))) <> 'p' THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('zvt_add_partition'));
    IF to_regclass(quote_ident(name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, parent);
    -- Attaching waits for nobody who reads or writes other partitions; CREATE … PARTITION OF would.
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, low, high);
    -- Behind it: older servers attach no table that has such triggers.
    EXECUTE format('CREATE TRIGGER known_instrument AFTER INSERT ON %I REFERENCING NEW TABLE AS arrived '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_known_instrument()', name);
    IF starts_with(parent, 'kline_') THEN
        EXECUTE format('CREATE TRIGGER keeps_versions AFTER UPDATE ON %I REFERENCING OLD TABLE AS gone NEW TABLE AS came '
                       'FOR EACH STATEMENT EXECUTE FUNCTION zvt_keep_version(%L)', name, substr(parent, 7));
    END IF;
END $$;

CREATE OR REPLACE FUNCTION zvt_keep_version() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO kline_revision (slug, served, recorded_at, instrument_id, trades, open_time, known_at,
                                open, high, low, close, volume, turnover, source, final)
    SELECT TG_ARGV[0], true, c.known_at, g.instrument_id, g.trades, g.open_time, g.known_at,
           g.open, g.high, g.low, g.close, g.volume, g.turnover, g.source, g.final
    FROM gone g JOIN came c USING (instrument_id, open_time)
    WHERE g.final;
    IF TG_ARGV[0] IN ('1m', '1d') THEN
        INSERT INTO rollup_due (instrument_id, day, marked_at)
        SELECT DISTINCT c.instrument_id, date_trunc('day', c.open_time, 'UTC'), now()
        FROM gone g JOIN came c USING (instrument_id, open_time)
        WHERE c.final AND (TG_ARGV[0] = '1m' OR c.source > 1)
          AND (g.final, g.open, g.high, g.low, g.close, g.volume, g.turnover, g.trades)
              IS DISTINCT FROM (c.final, c.open, c.high, c.low, c.close, c.volume, c.turnover, c.trades)
        ORDER BY 1, 2
        ON CONFLICT (instrument_id, day) DO UPDATE SET marked_at = excluded.marked_at;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION zvt_known_instrument() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unknown INTEGER;
    slug TEXT;
BEGIN
    SELECT a.instrument_id INTO unknown
    FROM (SELECT DISTINCT instrument_id FROM arrived) a
    WHERE NOT EXISTS (SELECT FROM instrument i WHERE i.instrument_id = a.instrument_id)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'insert on table "%" refers to an unknown instrument', TG_TABLE_NAME
            USING ERRCODE = '23503', CONSTRAINT = 'known_instrument', DETAIL = format('Key (instrument_id)=(%s) is not present.', unknown);
    END IF;
    IF NOT starts_with(TG_TABLE_NAME, 'kline_') THEN
        RETURN NULL;
    END IF;
    -- What is packed has one version, in its chunk: whoever writes there unpacks it first. Nobody else pays for the look.
    slug := split_part(TG_TABLE_NAME, '_', 2);
    IF (SELECT min(open_time) FROM arrived) < (SELECT until FROM packed_mark WHERE noun = slug) THEN
        PERFORM FROM arrived a CROSS JOIN LATERAL (
            SELECT p.high FROM kline_packed p
            WHERE p.instrument_id = a.instrument_id AND p.slug = split_part(TG_TABLE_NAME, '_', 2) AND p.low <= a.open_time
            ORDER BY p.low DESC LIMIT 1) chunk
        WHERE chunk.high > a.open_time LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'rows for table "%" lie in a range that is packed: unpack it first', TG_TABLE_NAME USING ERRCODE = 'ZP001';
        END IF;
    END IF;
    -- What comes in time is rolled by whoever follows it; what comes later is marked. Days that we made of minutes are not news.
    IF slug IN ('1m', '1d') AND current_setting('zvt.moves_rows', true) IS DISTINCT FROM 'on' THEN
        INSERT INTO rollup_due (instrument_id, day, marked_at)
        SELECT DISTINCT instrument_id, date_trunc('day', open_time, 'UTC'), now()
        FROM arrived
        WHERE final AND (slug = '1m' OR source > 1)
          AND known_at > open_time + CASE slug WHEN '1m' THEN interval '6 minutes' ELSE interval '1 day 5 minutes' END
        ORDER BY 1, 2
        ON CONFLICT (instrument_id, day) DO UPDATE SET marked_at = excluded.marked_at;
    END IF;
    RETURN NULL;
END $$
"""
# As revision 0002 made it.
BEFORE = """
CREATE OR REPLACE FUNCTION zvt_known_instrument() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    unknown INTEGER;
BEGIN
    SELECT a.instrument_id INTO unknown
    FROM (SELECT DISTINCT instrument_id FROM arrived) a
    WHERE NOT EXISTS (SELECT FROM instrument i WHERE i.instrument_id = a.instrument_id)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'insert on table "%" refers to an unknown instrument', TG_TABLE_NAME
            USING ERRCODE = '23503', CONSTRAINT = 'known_instrument', DETAIL = format('Key (instrument_id)=(%s) is not present.', unknown);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION zvt_add_partition(parent TEXT, name TEXT, low TIMESTAMPTZ, high TIMESTAMPTZ) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('zvt_add_partition'));
    IF to_regclass(quote_ident(name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, parent);
    -- Attaching waits for nobody who reads or writes other partitions; CREATE … PARTITION OF would.
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, low, high);
    -- Behind it: older servers attach no table that has such triggers.
    EXECUTE format('CREATE TRIGGER known_instrument AFTER INSERT ON %I REFERENCING NEW TABLE AS arrived '
                   'FOR EACH STATEMENT EXECUTE FUNCTION zvt_known_instrument()', name);
    IF starts_with(parent, 'kline_') THEN
        EXECUTE format('CREATE TRIGGER keeps_versions AFTER UPDATE ON %I REFERENCING OLD TABLE AS gone NEW TABLE AS came '
                       'FOR EACH STATEMENT EXECUTE FUNCTION zvt_keep_version(%L)', name, substr(parent, 7));
    END IF;
END $$;

CREATE OR REPLACE FUNCTION zvt_keep_version() RETURNS trigger LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
    INSERT INTO kline_revision (slug, served, recorded_at, instrument_id, trades, open_time, known_at,
                                open, high, low, close, volume, turnover, source, final)
    SELECT TG_ARGV[0], true, c.known_at, g.instrument_id, g.trades, g.open_time, g.known_at,
           g.open, g.high, g.low, g.close, g.volume, g.turnover, g.source, g.final
    FROM gone g JOIN came c USING (instrument_id, open_time)
    WHERE g.final;
    RETURN NULL;
END $$;

DROP TABLE rollup_due, archived, storage_policy, packed_mark, kline_packed
"""
PARTITION = """
SELECT zvt_add_partition('kline_{slug}', 'kline_{slug}_{month}', month, month + interval '1 month')
FROM date_trunc('month', $1::timestamptz, 'UTC') month
"""
INSERT = """
INSERT INTO kline_{slug} (instrument_id, open_time, known_at, open, high, low, close, volume, turnover, trades, source, final)
SELECT $1::int, 'epoch'::timestamptz + at * interval '1 microsecond', 'epoch'::timestamptz + known * interval '1 microsecond',
       open, high, low, close, volume, nullif(turnover, 'NaN'), nullif(trades, -1), source, true
FROM unnest($2::bigint[], $3::bigint[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[], $9::float8[], $10::int[],
            $11::int[]) AS bar(at, known, open, high, low, close, volume, turnover, trades, source)
"""


def upgrade() -> None:
    """Create. No lock is taken that a reader or writer of klines would wait for."""
    _run(UPGRADE)


def downgrade() -> None:
    """Every packed row returns to its table."""
    _unpack_all()
    _run(BEFORE)


def _unpack_all() -> None:
    from zvt_crypto.stores.postgres.bars import unpack_checked

    bind = op.get_bind()
    for key, slug, low in bind.exec_driver_sql("SELECT instrument_id, slug, low FROM kline_packed ORDER BY slug, instrument_id, low").all():
        taken = "DELETE FROM kline_packed WHERE instrument_id = $1 AND slug = $2 AND low = $3 RETURNING data, digest"
        data, digest = bind.exec_driver_sql(taken, (key, slug, low)).one()
        bars = unpack_checked(data, digest, f"chunk of kline_{slug}, instrument {key}, from {low} on")
        if slug in ("1m", "5m", "15m", "30m"):
            bind.exec_driver_sql(PARTITION.format(slug=slug, month=f"{low:%Y%m}"), (low,))
        bind.exec_driver_sql(INSERT.format(slug=slug), (key, *(column.tolist() for column in bars)))


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
