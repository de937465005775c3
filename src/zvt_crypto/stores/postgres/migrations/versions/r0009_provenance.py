"""Provenance: checksums of chunks, and what one instrument was renamed to.

Revision ID: 0009
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Table → (its column of time, the calendar unit of its chunks). As stores/postgres/signed.py has them.
BARS = {
    "1m": "month",
    "5m": "month",
    "15m": "month",
    "30m": "month",
    "1h": "month",
    "4h": "month",
    "1d": "year",
    "1w": "year",
    "1mon": "year",
}
EVENTS = {"trade": "day", "funding": "year", "mark": "month", "book_snapshot": "month"}
APPENDED = ("trade", "book_snapshot")  # a row of these never changes

# `prints`: two bytes for each row, in the order of the rows, so that the first wrong one can be named.
UPGRADE = """
CREATE TABLE chunk_checksum (
    noun            TEXT COLLATE "C" NOT NULL,
    instrument_id   INTEGER NOT NULL CONSTRAINT chunk_checksum_instrument REFERENCES instrument,
    low             TIMESTAMPTZ NOT NULL,
    high            TIMESTAMPTZ NOT NULL,
    known_until     TIMESTAMPTZ NOT NULL,
    row_count       INTEGER NOT NULL,
    signed_at       TIMESTAMPTZ NOT NULL,
    touched_at      TIMESTAMPTZ,
    digest          BYTEA,
    prints          BYTEA,
    CONSTRAINT chunk_checksum_whole CHECK ((digest IS NULL) = (prints IS NULL)),
    PRIMARY KEY (noun, instrument_id, low)
);

ALTER TABLE chunk_checksum ALTER COLUMN prints SET STORAGE EXTERNAL;

COMMENT ON COLUMN chunk_checksum.touched_at IS 'since when it holds rows that are newer than known_until, written through the store';

CREATE INDEX chunk_checksum_newest ON chunk_checksum (noun, high);

-- A write through the store marks the signed chunks that it touches. What any other program writes marks nothing, and is found.
CREATE FUNCTION zvt_touch_bars() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT starts_with(current_setting('application_name'), 'zvt-crypto') THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7295003);
    IF (SELECT min(open_time) FROM arrived) < (SELECT max(high) FROM chunk_checksum WHERE noun = TG_ARGV[0]) THEN
        UPDATE chunk_checksum c SET touched_at = clock_timestamp()
        FROM (SELECT DISTINCT instrument_id, date_trunc(TG_ARGV[1], open_time, 'UTC') AS low FROM arrived) a
        WHERE c.noun = TG_ARGV[0] AND c.instrument_id = a.instrument_id AND c.low = a.low AND c.touched_at IS NULL;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION zvt_touch_events() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT starts_with(current_setting('application_name'), 'zvt-crypto') THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7295003);
    IF (SELECT min(event_time) FROM arrived) < (SELECT max(high) FROM chunk_checksum WHERE noun = TG_ARGV[0]) THEN
        UPDATE chunk_checksum c SET touched_at = clock_timestamp()
        FROM (SELECT DISTINCT instrument_id, date_trunc(TG_ARGV[1], event_time, 'UTC') AS low FROM arrived) a
        WHERE c.noun = TG_ARGV[0] AND c.instrument_id = a.instrument_id AND c.low = a.low AND c.touched_at IS NULL;
    END IF;
    RETURN NULL;
END $$;

ALTER TABLE instrument_fact DROP CONSTRAINT instrument_fact_field,
    ADD CONSTRAINT instrument_fact_field CHECK (field IN (
        'status', 'tick', 'lot', 'min_trade_amount', 'min_notional', 'contract_size',
        'listed_ns', 'delisted_ns', 'expiry_ns', 'delisted_by', 'renamed_to'))
"""

TRIGGER = """
CREATE TRIGGER touches_{event} AFTER {event} ON {table} REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION {function}('{table}', '{unit}')
"""

DOWNGRADE = """
DROP FUNCTION zvt_touch_bars();

DROP FUNCTION zvt_touch_events();

DROP TABLE chunk_checksum;

ALTER TABLE instrument_fact DISABLE TRIGGER instrument_fact_append_only;

DELETE FROM instrument_fact WHERE field = 'renamed_to';

ALTER TABLE instrument_fact ENABLE TRIGGER instrument_fact_append_only;

ALTER TABLE instrument_fact DROP CONSTRAINT instrument_fact_field,
    ADD CONSTRAINT instrument_fact_field CHECK (field IN (
        'status', 'tick', 'lot', 'min_trade_amount', 'min_notional', 'contract_size',
        'listed_ns', 'delisted_ns', 'expiry_ns', 'delisted_by'))
"""


def upgrade() -> None:
    """Create."""
    _run(UPGRADE)
    for table, function, unit, event in _triggers():
        _run(TRIGGER.format(table=table, function=function, unit=unit, event=event))


def downgrade() -> None:
    """Drop; what was renamed is forgotten."""
    for table, _, _, event in _triggers():
        _run(f"DROP TRIGGER touches_{event} ON {table}")
    _run(DOWNGRADE)


def _triggers() -> list[tuple[str, str, str, str]]:
    """(table, function, unit, event) of each."""
    tables = [(f"kline_{slug}", "zvt_touch_bars", unit) for slug, unit in BARS.items()]
    tables += [(table, "zvt_touch_events", unit) for table, unit in EVENTS.items()]
    return [(*table, event) for table in tables for event in ("insert", "update") if event == "insert" or table[0] not in APPENDED]


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
