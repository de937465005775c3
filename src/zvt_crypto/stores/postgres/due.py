"""Days of which longer klines are to be made again; triggers on the klines mark them, whoever writes."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.ports import Due
from zvt_crypto.stores.postgres.pool import Connection, Pool


class PostgresDue:
    """ports.DueStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list(self, limit: int) -> Sequence[Due]:
        """As ports.DueStore says."""
        text = """SELECT i.id, d.day, d.marked_at FROM (
            SELECT * FROM rollup_due ORDER BY instrument_id, day LIMIT $1) d JOIN instrument i USING (instrument_id) ORDER BY 1, 2"""
        found = await self._pool.run("list days to roll", lambda connection: connection.fetch(text, limit))
        return [Due(*row) for row in found]

    async def clear(self, done: Sequence[Due]) -> None:
        """As ports.DueStore says."""
        text = """DELETE FROM rollup_due d
            USING instrument i, unnest($1::text[], $2::timestamptz[], $3::timestamptz[]) AS gone(id, day, mark)
            WHERE i.id = gone.id AND d.instrument_id = i.instrument_id AND d.day = gone.day AND d.marked_at = gone.mark"""
        columns = [list(column) for column in zip(*((each.instrument, each.day_ns, each.mark_ns) for each in done), strict=True)]

        async def work(connection: Connection) -> None:
            await connection.execute(text, *columns)

        if done:
            await self._pool.run("clear days that were rolled", work)
