"""What the server can do beyond plain PostgreSQL, as far as storage is concerned: TimescaleDB, and which edition."""

from __future__ import annotations

from typing import NamedTuple

from zvt_crypto.stores.postgres.pool import Connection


class Features(NamedTuple):
    """`license`: what `timescaledb.license` says, `apache` or `timescale`; the first has no compression, aggregates and policies.

    `available` where the server could create the extension, `version` where this database has it.
    """

    server: str
    available: str | None = None
    version: str | None = None
    license: str | None = None
    hypertables: tuple[str, ...] = ()

    @property
    def has_timescale(self) -> bool:
        """Whether this database has hypertables at all."""
        return self.version is not None

    @property
    def compresses(self) -> bool:
        """Whether chunks can be compressed, and so continuous aggregates and retention policies had, too."""
        return self.has_timescale and self.license == "timescale"

    @property
    def cold_form(self) -> str:
        """How old rows are kept small here: packed chunks everywhere; where the extension compresses, that comes before, by policy."""
        return "packed chunks, timescaledb compression before" if self.compresses and self.hypertables else "packed chunks"


async def find_features(connection: Connection) -> Features:
    """Asked of the server's catalogue: nothing is believed from a version number alone."""
    server = await connection.fetchval("SHOW server_version")
    available = await connection.fetchval("SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'")
    version = await connection.fetchval("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
    if version is None:
        return Features(server, available)
    license_ = await connection.fetchval("SELECT current_setting('timescaledb.license', true)")
    rows = await connection.fetch("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1")
    return Features(server, available, version, license_, tuple(row[0] for row in rows))
