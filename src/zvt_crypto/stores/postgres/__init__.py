"""PostgreSQL: tables, migrations, one file a noun, and a server of our own for those who have none."""

from zvt_crypto.stores.postgres.schema import downgrade, head_revision, migrate
from zvt_crypto.stores.postgres.store import PostgresStore, open_store

__all__ = ["PostgresStore", "downgrade", "head_revision", "migrate", "open_store"]
