"""Assets and instruments: a key each, and dated facts for all that changes.

Revision ID: 0001
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Times of facts keep microseconds. A value is text: digits as the venue wrote them, times as integer nanoseconds.
UPGRADE = """
CREATE FUNCTION zvt_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = '23514', CONSTRAINT = TG_TABLE_NAME || '_append_only';
END $$;

CREATE TABLE asset (
    asset_key   INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id          TEXT COLLATE "C" NOT NULL CONSTRAINT asset_id_unique UNIQUE,
    exchange    TEXT COLLATE "C" NOT NULL,
    symbol      TEXT COLLATE "C" NOT NULL CONSTRAINT asset_symbol_given CHECK (symbol <> ''),
    created_at  TIMESTAMPTZ NOT NULL,
    CONSTRAINT asset_symbol_unique UNIQUE (exchange, symbol)
);

CREATE TABLE asset_fact (
    fact_id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asset_key   INTEGER NOT NULL CONSTRAINT asset_fact_asset REFERENCES asset,
    field       TEXT COLLATE "C" NOT NULL CONSTRAINT asset_fact_field CHECK (field IN ('full_name', 'max_supply', 'market_cap')),
    value       TEXT,
    source      TEXT NOT NULL,
    valid_from  TIMESTAMPTZ NOT NULL,
    known_at    TIMESTAMPTZ NOT NULL
);

CREATE INDEX asset_fact_newest ON asset_fact (asset_key, field, valid_from, known_at, fact_id);

CREATE TABLE instrument (
    instrument_id   INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              TEXT COLLATE "C" NOT NULL CONSTRAINT instrument_id_unique UNIQUE,
    kind            TEXT COLLATE "C" NOT NULL CONSTRAINT instrument_kind CHECK (kind IN ('pair', 'perp', 'future')),
    exchange        TEXT COLLATE "C" NOT NULL,
    native_symbol   TEXT COLLATE "C" NOT NULL CONSTRAINT instrument_native_given CHECK (native_symbol <> ''),
    base_asset      INTEGER NOT NULL CONSTRAINT instrument_base REFERENCES asset,
    quote_asset     INTEGER NOT NULL CONSTRAINT instrument_quote REFERENCES asset,
    underlying      INTEGER CONSTRAINT instrument_underlying REFERENCES asset,
    settlement      INTEGER CONSTRAINT instrument_settlement REFERENCES asset,
    created_at      TIMESTAMPTZ NOT NULL,
    CONSTRAINT instrument_contract CHECK (
        (kind = 'pair') = (settlement IS NULL) AND (kind = 'pair') = (underlying IS NULL))
);

CREATE TABLE instrument_fact (
    fact_id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id   INTEGER NOT NULL CONSTRAINT instrument_fact_instrument REFERENCES instrument,
    field           TEXT COLLATE "C" NOT NULL CONSTRAINT instrument_fact_field CHECK (field IN (
                        'status', 'tick', 'lot', 'min_trade_amount', 'min_notional', 'contract_size',
                        'listed_ns', 'delisted_ns', 'expiry_ns')),
    value           TEXT,
    valid_from      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    CONSTRAINT instrument_fact_status CHECK (field <> 'status' OR (value IS NOT NULL AND value IN (
        'pending', 'active', 'cancel_only', 'suspended', 'settling', 'delisted', 'unknown'))),
    CONSTRAINT instrument_fact_step CHECK (
        field NOT IN ('tick', 'lot', 'contract_size') OR value IS NULL OR value::numeric > 0),
    CONSTRAINT instrument_fact_least CHECK (
        field NOT IN ('min_trade_amount', 'min_notional') OR value IS NULL OR value::numeric >= 0),
    CONSTRAINT instrument_fact_time CHECK (
        field NOT IN ('listed_ns', 'delisted_ns', 'expiry_ns') OR value IS NULL OR value::bigint >= 0)
);

CREATE INDEX instrument_fact_newest ON instrument_fact (instrument_id, field, valid_from, known_at, fact_id);

-- Rows that others point at never change and never go: so ids and keys are never reused.
CREATE TRIGGER asset_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asset
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_append_only();

CREATE TRIGGER asset_fact_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON asset_fact
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_append_only();

CREATE TRIGGER instrument_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON instrument
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_append_only();

CREATE TRIGGER instrument_fact_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON instrument_fact
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_append_only();

-- The current value of every field: the newest fact that has begun. One that was known when it began counts at once, whatever
-- this server's clock says; one dated ahead (a delisting announced) begins when the clock reaches it.
CREATE VIEW instrument_now AS
SELECT instrument_id,
       max(value) FILTER (WHERE field = 'status')           AS status,
       max(value) FILTER (WHERE field = 'tick')             AS tick,
       max(value) FILTER (WHERE field = 'lot')              AS lot,
       max(value) FILTER (WHERE field = 'min_trade_amount') AS min_trade_amount,
       max(value) FILTER (WHERE field = 'min_notional')     AS min_notional,
       max(value) FILTER (WHERE field = 'contract_size')    AS contract_size,
       max(value) FILTER (WHERE field = 'listed_ns')        AS listed_ns,
       max(value) FILTER (WHERE field = 'delisted_ns')      AS delisted_ns,
       max(value) FILTER (WHERE field = 'expiry_ns')        AS expiry_ns,
       max(known_at)                                        AS updated_at
FROM (
    SELECT DISTINCT ON (instrument_id, field) instrument_id, field, value, known_at
    FROM instrument_fact
    WHERE valid_from <= greatest(now(), known_at)
    ORDER BY instrument_id DESC, field DESC, valid_from DESC, known_at DESC, fact_id DESC
) newest
GROUP BY instrument_id;

CREATE VIEW asset_now AS
SELECT asset_key,
       max(value) FILTER (WHERE field = 'full_name')  AS full_name,
       max(value) FILTER (WHERE field = 'max_supply') AS max_supply,
       max(value) FILTER (WHERE field = 'market_cap') AS market_cap,
       max(known_at)                                  AS updated_at
FROM (
    SELECT DISTINCT ON (asset_key, field) asset_key, field, value, known_at
    FROM asset_fact
    WHERE valid_from <= greatest(now(), known_at)
    ORDER BY asset_key DESC, field DESC, valid_from DESC, known_at DESC, fact_id DESC
) newest
GROUP BY asset_key
"""

DOWNGRADE = """
DROP VIEW asset_now, instrument_now;

DROP TABLE instrument_fact, instrument, asset_fact, asset;

DROP FUNCTION zvt_append_only()
"""


def upgrade() -> None:
    """Create."""
    _run(UPGRADE)


def downgrade() -> None:
    """Drop, rows included."""
    _run(DOWNGRADE)


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
