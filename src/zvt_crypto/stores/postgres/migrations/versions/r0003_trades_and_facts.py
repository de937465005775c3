"""Trades by day; funding, mark prices, book snapshots, gaps.

Revision ID: 0003
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Event times of trades and books keep nanoseconds: the microseconds in event_time, the rest in event_ns_rest (Coinbase and captures have
# them; Binance sends ms or µs). All other times keep microseconds.
UPGRADE = """
CREATE TABLE trade (
    instrument_id   INTEGER NOT NULL,
    stream          SMALLINT NOT NULL CONSTRAINT trade_stream CHECK (stream IN (1, 2)),
    event_ns_rest   SMALLINT NOT NULL CONSTRAINT trade_ns_rest CHECK (event_ns_rest BETWEEN 0 AND 999),
    event_time      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    price           DOUBLE PRECISION NOT NULL CONSTRAINT price_above_zero CHECK (price > 0 AND price < 'Infinity'),
    quantity        DOUBLE PRECISION NOT NULL CONSTRAINT quantity_above_zero CHECK (quantity > 0 AND quantity < 'Infinity'),
    taker_buys      BOOLEAN NOT NULL,
    venue_trade_id  TEXT COLLATE "C" NOT NULL CONSTRAINT trade_id_given CHECK (venue_trade_id <> ''),
    PRIMARY KEY (instrument_id, event_time, stream, venue_trade_id)
) PARTITION BY RANGE (event_time);

COMMENT ON COLUMN trade.stream IS '1 trade, 2 agg: two id spaces of one market';

CREATE TRIGGER known_instrument AFTER INSERT ON trade REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_known_instrument();

CREATE TRIGGER keeps_rows BEFORE UPDATE ON trade FOR EACH ROW EXECUTE FUNCTION zvt_append_only();

CREATE TABLE funding (
    instrument_id   INTEGER NOT NULL CONSTRAINT funding_instrument REFERENCES instrument,
    event_time      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    rate            DOUBLE PRECISION NOT NULL CONSTRAINT rate_finite CHECK (rate > '-Infinity' AND rate < 'Infinity'),
    mark_price      DOUBLE PRECISION CONSTRAINT mark_above_zero CHECK (mark_price > 0 AND mark_price < 'Infinity'),
    PRIMARY KEY (instrument_id, event_time)
);

CREATE TABLE mark (
    instrument_id       INTEGER NOT NULL CONSTRAINT mark_instrument REFERENCES instrument,
    event_time          TIMESTAMPTZ NOT NULL,
    known_at            TIMESTAMPTZ NOT NULL,
    mark_price          DOUBLE PRECISION NOT NULL CONSTRAINT mark_above_zero CHECK (mark_price > 0 AND mark_price < 'Infinity'),
    index_price         DOUBLE PRECISION CONSTRAINT index_above_zero CHECK (index_price > 0 AND index_price < 'Infinity'),
    funding_rate        DOUBLE PRECISION CONSTRAINT rate_finite CHECK (funding_rate > '-Infinity' AND funding_rate < 'Infinity'),
    next_funding_time   TIMESTAMPTZ,
    PRIMARY KEY (instrument_id, event_time)
);

CREATE TABLE book_snapshot (
    instrument_id   INTEGER NOT NULL CONSTRAINT book_instrument REFERENCES instrument,
    event_ns_rest   SMALLINT NOT NULL CONSTRAINT book_ns_rest CHECK (event_ns_rest BETWEEN 0 AND 999),
    event_time      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    last_id         BIGINT NOT NULL,
    bid_prices      DOUBLE PRECISION[] NOT NULL,
    bid_sizes       DOUBLE PRECISION[] NOT NULL,
    ask_prices      DOUBLE PRECISION[] NOT NULL,
    ask_sizes       DOUBLE PRECISION[] NOT NULL,
    PRIMARY KEY (instrument_id, event_time, last_id),
    CONSTRAINT book_sides_match CHECK (
        cardinality(bid_prices) = cardinality(bid_sizes) AND cardinality(ask_prices) = cardinality(ask_sizes)),
    CONSTRAINT book_levels_above_zero CHECK (
        0 < ALL (bid_prices) AND 0 < ALL (bid_sizes) AND 0 < ALL (ask_prices) AND 0 < ALL (ask_sizes)),
    CONSTRAINT book_not_crossed CHECK (bid_prices[1] < ask_prices[1])
);

CREATE TABLE gap (
    gap_id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    instrument_id   INTEGER NOT NULL CONSTRAINT gap_instrument REFERENCES instrument,
    channel         TEXT COLLATE "C" NOT NULL CONSTRAINT gap_channel CHECK (channel IN
                    ('trade', 'agg', 'kline', 'book', 'mark', 'funding')),
    start_time      TIMESTAMPTZ NOT NULL,
    end_time        TIMESTAMPTZ NOT NULL,
    first_id        BIGINT,
    last_id         BIGINT,
    reason          TEXT NOT NULL,
    filled_from     TEXT,
    event_time      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    CONSTRAINT gap_range CHECK (end_time >= start_time),
    CONSTRAINT gap_ids CHECK (last_id >= first_id)
);

CREATE UNIQUE INDEX gap_once ON gap (instrument_id, channel, start_time, coalesce(first_id, -1));

CREATE INDEX gap_open ON gap (instrument_id) WHERE filled_from IS NULL
"""


def upgrade() -> None:
    """Create."""
    _run(UPGRADE)


def downgrade() -> None:
    """Drop, rows included."""
    _run("DROP TABLE gap, book_snapshot, mark, funding, trade")


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line; function bodies hold no blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
