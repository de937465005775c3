"""Many processes: positions in the feed, and leases.

Revision ID: 0010
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# A row that ran out is kept: the next holder's token must be greater. Names of processes that are gone are swept by those that live.
LEASE = """
CREATE TABLE lease (
    name TEXT PRIMARY KEY COLLATE "C",
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    CONSTRAINT lease_token_positive CHECK (token > 0)
) WITH (fillfactor = 50)
"""

# Up to where the shared feed is stored: written in the transaction that stores the rows before it.
POSITION = """
CREATE TABLE feed_position (
    shard INTEGER PRIMARY KEY,
    mark BYTEA NOT NULL,
    stored_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50)
"""


def upgrade() -> None:
    """Make the tables."""
    op.get_bind().exec_driver_sql(LEASE)
    op.get_bind().exec_driver_sql(POSITION)


def downgrade() -> None:
    """Forget who held what, and what of the feed is stored: processes of the older build know none of it."""
    op.get_bind().exec_driver_sql("DROP TABLE lease")
    op.get_bind().exec_driver_sql("DROP TABLE feed_position")
