"""What a parser must know of a product: whose events it names, and how the venue counts its quantities."""

from __future__ import annotations

import msgspec

from zvt_crypto.domain.instrument import CryptoPair, Instrument
from zvt_crypto.domain.money import decimals_of


class Product(msgspec.Struct, frozen=True, gc=False):
    """`size` is the base of one unit of the venue's quantities: 1 for pairs, a contract's size for contracts. `digits` are the decimals
    that a quantity in base has then. `is_dense`: trade ids rise by one. `tick` and its decimals; 0 where there is none."""

    instrument: str
    size: float = 1.0
    digits: int = 8
    is_dense: bool = True
    tick: float = 0.0
    tick_digits: int = 8

    def base(self, quantity: float) -> float:
        """A quantity of the venue's in base."""
        return quantity if self.size == 1.0 else round(quantity * self.size, self.digits)

    def price(self, value: float) -> float:
        """The price on the grid next to a computed one."""
        return value if not self.tick else round(round(value / self.tick) * self.tick, self.tick_digits)


def product_of(instrument: Instrument) -> Product:
    """The product of an instrument. Lots are in base already, so their decimals are a quantity's."""
    is_pair = isinstance(instrument, CryptoPair)
    size = 1.0 if isinstance(instrument, CryptoPair) else float(instrument.contract_size)
    lot_digits, tick_digits = decimals_of(instrument.lot), decimals_of(instrument.tick)
    return Product(
        instrument=instrument.id,
        size=size,
        digits=8 if lot_digits is None else lot_digits,
        is_dense=is_pair,
        tick=float(instrument.tick or 0),
        tick_digits=8 if tick_digits is None else tick_digits,
    )
