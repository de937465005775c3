"""Listings as long as a real exchange's: any number of pairs over any number of assets, with made-up codes."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.market import READY_SYMBOLS, Symbol, symbol_for

LONGEST = 10_000  # instruments of a listing
QUOTES = ("USDT", "USDC", "EUR", "BTC")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def spot_roster(pairs: int, assets: int, quotes: Sequence[str] = QUOTES) -> tuple[Symbol, ...]:
    """`pairs` spot symbols that name exactly `assets` assets, the quotes among them: each base against one quote after another.

    Raises BadInput where so many pairs cannot be made of so many assets, or would name fewer.
    """
    bases = assets - len(quotes)
    if not 0 < bases <= pairs <= bases * len(quotes) or pairs < bases + len(quotes) - 1:
        raise BadInput(f"{pairs} pairs cannot name {assets} assets, {len(quotes)} of them quotes")
    if bases > len(_LETTERS) ** 3:
        raise BadInput(f"{assets} assets are more than codes of four letters")
    first = [(number, 0) for number in range(bases)]
    further = [(number, quote) for quote in range(1, len(quotes)) for number in range(bases)]
    # One pair of each further quote first, so that every quote is named however few pairs are left.
    further.sort(key=lambda pair: pair[0] > 0)
    return tuple(symbol_for("spot", base_code(number), quotes[quote]) for number, quote in (first + further)[:pairs])


def long_listing(count: int) -> tuple[Symbol, ...]:
    """`count` instruments: the ready-made ones, and pairs with made-up codes, two for each base. Raises BadInput."""
    rest = count - len(READY_SYMBOLS)
    least = len(QUOTES)  # one pair of each quote
    if not least <= rest <= LONGEST - len(READY_SYMBOLS):
        raise BadInput(f"a listing of {count} instruments: {len(READY_SYMBOLS) + least} to {LONGEST} can be made")
    bases = min(rest // 2, rest - len(QUOTES) + 1)
    return (*READY_SYMBOLS, *spot_roster(rest, bases + len(QUOTES)))


def base_code(number: int) -> str:
    """0 → QAAA, 1 → QAAB: no currency that is traded begins with Q and has four letters, so no two symbols run into one another."""
    high, low = divmod(number, 26)
    return "Q" + _LETTERS[high // 26] + _LETTERS[high % 26] + _LETTERS[low]
