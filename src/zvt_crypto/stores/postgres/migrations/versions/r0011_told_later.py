"""What is told later of an earlier time counts: a delisting dated before the newest fact needs no second one dated now.

Revision ID: 0011
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# The order of telling. One that was dated ahead (a delisting announced) follows all that was known before it began.
TOLD = """
    CASE WHEN valid_from <= known_at THEN fact_id ELSE (
        SELECT max(before.fact_id) FROM instrument_fact before
        WHERE before.instrument_id = told.instrument_id AND before.field = told.field AND before.known_at < told.valid_from
    ) END DESC, valid_from > known_at DESC, fact_id DESC"""
DATED = "valid_from DESC, known_at DESC, fact_id DESC"
VIEW = """
CREATE OR REPLACE VIEW instrument_now AS
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
    FROM instrument_fact told
    WHERE valid_from <= greatest(now(), known_at)
    ORDER BY instrument_id DESC, field DESC, {order}
) newest
GROUP BY instrument_id
"""


def upgrade() -> None:
    """What is told last counts."""
    op.get_bind().exec_driver_sql(VIEW.format(order=TOLD))


def downgrade() -> None:
    """What is dated last counts."""
    op.get_bind().exec_driver_sql(VIEW.format(order=DATED))
