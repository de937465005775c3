"""Digits: the one border between float market data and the decimals of ticks and lots."""

from __future__ import annotations

from decimal import Decimal

from zvt_crypto.domain.errors import BadInput, shown

# Steps beyond these are nobody's: the finest asset has 18 decimals.
MIN_STEP, MAX_STEP = Decimal("1E-18"), Decimal("1E+12")


def decimals_of(step: Decimal | None) -> int | None:
    """The decimals that a tick or lot needs: 0.01 → 2, 0.5 → 1, 10 → 0, 1E-8 → 8."""
    if step is None:
        return None
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else None


def decimal_text(value: float | Decimal, decimals: int | None = None) -> str:
    """A number as JSON and CSV write it: plain digits, never an exponent.

    With `decimals`, at least that many places (`60000` → `60000.00`); digits beyond them are kept, not rounded away:
    what a venue said is evidence. Without, the shortest text that reads back as the same float.
    """
    text = repr(float(value)) if not isinstance(value, Decimal) else str(value)
    if "e" in text or "E" in text:
        text = format(Decimal(text), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    if not decimals:
        return text
    whole, _, fraction = text.partition(".")
    return text if len(fraction) >= decimals else f"{whole}.{fraction.ljust(decimals, '0')}"


def round_to_step(value: float, step: Decimal | None) -> float:
    """The float nearest to the multiple of `step` that is nearest to `value`.

    For sums of float sizes (volume from trades): 0.1 + 0.2 at a lot of 0.001 is 0.3. Without a step, the value itself.
    """
    if step is None or step <= 0:
        return value
    decimals = decimals_of(step) or 0
    ticks = round(value / float(step))
    return round(ticks * float(step), decimals)


def parse_step(text: str, name: str) -> Decimal | None:
    """A tick or lot as a venue writes it; `0` means that the venue sets none. Raises BadInput for what is no number."""
    try:
        step = Decimal(text)
    except ArithmeticError:
        raise BadInput(f"{name} {shown(text)} is not a number") from None
    if not step.is_finite() or step < 0 or (step and not MIN_STEP <= step <= MAX_STEP):
        raise BadInput(f"{name} {shown(text)} is not a step: 0, or {MIN_STEP} to {MAX_STEP}")
    return step.normalize() if step else None
