"""Books in full: what makes a book at any past instant. And which minutes have got trades after they were over.

Revision ID: 0008
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A segment holds a whole book and all that changed it: it answers for the instants [start, until). Both keep nanoseconds, as event times of
# trades do. `data` is compressed already. One partition a day.
UPGRADE = """
CREATE TABLE book_log (
    instrument_id   INTEGER NOT NULL,
    start_ns_rest   SMALLINT NOT NULL CONSTRAINT book_log_start_rest CHECK (start_ns_rest BETWEEN 0 AND 999),
    until_ns_rest   SMALLINT NOT NULL CONSTRAINT book_log_until_rest CHECK (until_ns_rest BETWEEN 0 AND 999),
    form            SMALLINT NOT NULL,
    start_time      TIMESTAMPTZ NOT NULL,
    until_time      TIMESTAMPTZ NOT NULL,
    known_at        TIMESTAMPTZ NOT NULL,
    first_id        BIGINT NOT NULL,
    last_id         BIGINT NOT NULL,
    event_count     INTEGER NOT NULL CONSTRAINT book_log_events CHECK (event_count > 0),
    digest          BYTEA NOT NULL CONSTRAINT book_log_digest CHECK (length(digest) = 16),
    data            BYTEA NOT NULL,
    CONSTRAINT book_log_span CHECK ((until_time, until_ns_rest) >= (start_time, start_ns_rest)),
    PRIMARY KEY (instrument_id, start_time, start_ns_rest)
) PARTITION BY RANGE (start_time);

ALTER TABLE book_log ALTER COLUMN data SET STORAGE EXTERNAL;

CREATE TRIGGER known_instrument AFTER INSERT ON book_log REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_known_instrument();

CREATE TRIGGER keeps_rows BEFORE UPDATE ON book_log FOR EACH ROW EXECUTE FUNCTION zvt_append_only();

CREATE TABLE trade_late (
    instrument_id   INTEGER NOT NULL CONSTRAINT trade_late_instrument REFERENCES instrument,
    stream          SMALLINT NOT NULL,
    open_time       TIMESTAMPTZ NOT NULL,
    marked_at       TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (instrument_id, stream, open_time)
);

COMMENT ON TABLE trade_late IS 'minutes that got a trade more than 5 s after they were over, and whose bars are to be made again';

CREATE FUNCTION zvt_mark_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trade_late AS l (instrument_id, stream, open_time, marked_at)
    SELECT a.*, clock_timestamp()
    FROM (
        SELECT DISTINCT instrument_id, stream, date_bin('1 minute', event_time, '2001-01-01 00:00:00+00') AS open_time
        FROM arrived
        WHERE known_at > event_time + interval '5 seconds'
          AND known_at > date_bin('1 minute', event_time, '2001-01-01 00:00:00+00') + interval '65 seconds'
    ) a
    ORDER BY 1, 2, 3
    ON CONFLICT (instrument_id, stream, open_time) DO UPDATE SET marked_at = excluded.marked_at;
    RETURN NULL;
END $$;

CREATE TRIGGER marks_late AFTER INSERT ON trade REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION zvt_mark_late()
"""

DOWNGRADE = """
DROP TRIGGER marks_late ON trade;

DROP FUNCTION zvt_mark_late();

DROP TABLE trade_late, book_log
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
