"""A delisting says who told of it: the venue, which lists it no more, or a user.

Revision ID: 0006
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE instrument_fact DROP CONSTRAINT instrument_fact_field,
    ADD CONSTRAINT instrument_fact_field CHECK (field IN (
        'status', 'tick', 'lot', 'min_trade_amount', 'min_notional', 'contract_size',
        'listed_ns', 'delisted_ns', 'expiry_ns', 'delisted_by')),
    ADD CONSTRAINT instrument_fact_teller CHECK (field <> 'delisted_by' OR (value IS NOT NULL AND value IN ('venue', 'user')))
"""

# Facts are append-only; those that the older schema does not know stand in the way of its check, and are taken out.
DOWNGRADE = """
ALTER TABLE instrument_fact DISABLE TRIGGER instrument_fact_append_only;

DELETE FROM instrument_fact WHERE field = 'delisted_by';

ALTER TABLE instrument_fact ENABLE TRIGGER instrument_fact_append_only;

ALTER TABLE instrument_fact DROP CONSTRAINT instrument_fact_teller, DROP CONSTRAINT instrument_fact_field,
    ADD CONSTRAINT instrument_fact_field CHECK (field IN (
        'status', 'tick', 'lot', 'min_trade_amount', 'min_notional', 'contract_size',
        'listed_ns', 'delisted_ns', 'expiry_ns'))
"""


def upgrade() -> None:
    """Allow the field."""
    _run(UPGRADE)


def downgrade() -> None:
    """Forget who told."""
    _run(DOWNGRADE)


def _run(script: str) -> None:
    """Statements end with a semicolon and a blank line."""
    for statement in script.strip().split(";\n\n"):
        op.get_bind().exec_driver_sql(statement)
