"""Entity ids and the small integers that stand for them in rows. A pair of them never changes, so it may be remembered."""

from __future__ import annotations

from collections.abc import Iterable

from zvt_crypto.domain.errors import ConstraintViolated, shown
from zvt_crypto.stores.postgres.pool import Connection


class Keys:
    """Entity id → instrument_id, read on the first use of an id and kept; as many as there are instruments."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    async def of(self, connection: Connection, ids: Iterable[str]) -> dict[str, int]:
        """The keys of all `ids`. Raises ConstraintViolated, naming the first that no instrument has."""
        wanted = set(ids)
        if not wanted <= self._known.keys():
            rows = await connection.fetch("SELECT id, instrument_id FROM instrument WHERE id = ANY($1)", sorted(wanted))
            self._known.update((row[0], row[1]) for row in rows)
        unknown = sorted(wanted - self._known.keys())
        if unknown:
            raise ConstraintViolated(f"unknown instrument {shown(unknown[0])}: no row may refer to it")
        return self._known

    async def find(self, connection: Connection, entity_id: str) -> int | None:
        """The key of one id, or None."""
        if entity_id not in self._known:
            found = await connection.fetchval("SELECT instrument_id FROM instrument WHERE id = $1", entity_id)
            if found is None:
                return None
            self._known[entity_id] = found
        return self._known[entity_id]

    def name(self, instrument_id: int) -> str:
        """The entity id of a key that was used here; for messages."""
        return next((name for name, key in self._known.items() if key == instrument_id), str(instrument_id))
