"""A gap of klines says of which interval: holes of several may begin at one moment.

Revision ID: 0005
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Until now the interval stood before the colon of the reason alone.
UPGRADE = """
ALTER TABLE gap ADD COLUMN kline_interval TEXT COLLATE "C"
    CONSTRAINT gap_interval CHECK (kline_interval IN ('1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w', '1M')),
    ADD CONSTRAINT gap_interval_of_klines CHECK (kline_interval IS NULL OR channel = 'kline');

UPDATE gap SET kline_interval = split_part(reason, ':', 1)
WHERE channel = 'kline' AND split_part(reason, ':', 1) IN ('1m', '5m', '15m', '30m', '1h', '4h', '1d', '1w', '1M');

DROP INDEX gap_once;

CREATE UNIQUE INDEX gap_once ON gap (instrument_id, channel, start_time, coalesce(first_id, -1), coalesce(kline_interval, ''))
"""

DOWNGRADE = """
DELETE FROM gap g USING gap h
WHERE g.instrument_id = h.instrument_id AND g.channel = h.channel AND g.start_time = h.start_time
  AND coalesce(g.first_id, -1) = coalesce(h.first_id, -1) AND g.gap_id > h.gap_id;

DROP INDEX gap_once;

CREATE UNIQUE INDEX gap_once ON gap (instrument_id, channel, start_time, coalesce(first_id, -1));

ALTER TABLE gap DROP COLUMN kline_interval
"""


def upgrade() -> None:
    """Add, and fill from the reasons."""
    _run(UPGRADE)


def downgrade() -> None:
    """Drop; of gaps that only the interval told apart, the first told stays."""
    _run(DOWNGRADE)


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
