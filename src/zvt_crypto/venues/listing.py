"""What a venue lists, against the table that is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import Instrument, Instruments, assign_ids


def relisted(listed: Sequence[Instrument], held: Instruments, now_ns: int) -> tuple[list[Instrument], Instruments]:
    """The listed ones with their ids, and the new table: those that were known and are not listed now stay in it as they were
    (whether they are gone is judged where they are stored: one short answer proves nothing)."""
    made = assign_ids(listed, held, now_ns)
    now = {instrument.id for instrument in made}
    return made, Instruments([*made, *(old for old in held if old.id not in now)])


def ids_of(symbols: Sequence[str], resolve: Callable[[str], Instrument]) -> list[str]:
    """Entity ids of names. Raises BadInput for a lone string, for none and for what is no sequence, UnknownSymbol for what does not
    resolve."""
    if isinstance(symbols, str):
        raise BadInput(f"symbols is a sequence of names, not one: [{symbols!r}]")
    if not isinstance(symbols, Iterable) or not (symbols := list(symbols)):
        raise BadInput(f"symbols {shown(symbols)} name no instrument")
    return [resolve(symbol).id for symbol in symbols]
