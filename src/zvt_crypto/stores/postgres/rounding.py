"""When two versions of a bar tell the same but for rounding.

Prices are told, and volumes in lots add up exactly. The coins of an inverse contract are a quotient, size x value / price, which nobody
writes in full: a minute made of trades rounds each of them, and the venue rounds what it sums up.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from zvt_crypto.stores.postgres.pool import Connection

_EACH = 1e-8  # a trade may be rounded in both versions, half a unit of the 8th digit in each
# The volumes of OKX's inverse contracts have 4 digits, such as 13760.6923 coins: a number with fewer ends in zeros.
_FEWEST_DIGITS = 4
_PLAIN = "(r.open, r.high, r.low, r.close, r.volume) IS DISTINCT FROM (k.open, k.high, k.low, k.close, k.volume)"
_OF_QUOTIENTS = f"""((r.open, r.high, r.low, r.close) IS DISTINCT FROM (k.open, k.high, k.low, k.close)
    OR abs(r.volume - k.volume) > {_EACH} * greatest(r.trades, k.trades, 1) + 0.5 * 10.0::float8 ^ (-greatest({_FEWEST_DIGITS},
        least(scale(trim_scale(r.volume::numeric)), scale(trim_scale(k.volume::numeric))))))"""


async def is_of_quotients(connection: Connection, key: int) -> bool:
    """Whether an instrument's volumes are quotients: it is an inverse contract."""
    text = "SELECT coalesce(settlement = base_asset AND settlement <> quote_asset, false) FROM instrument WHERE instrument_id = $1"
    return bool(await connection.fetchval(text, key))


def differs_sql(*, of_quotients: bool) -> str:
    """A condition: the bars `r` and `k` differ by more than rounding."""
    return _OF_QUOTIENTS if of_quotients else _PLAIN


def differs(a: Sequence[Any], b: Sequence[Any], *, of_quotients: bool) -> bool:
    """The same of rows that hold open, high, low, close, volume, turnover, trades."""
    if not of_quotients or tuple(a[:4]) != tuple(b[:4]):
        return tuple(a[:5]) != tuple(b[:5])
    digits = max(_FEWEST_DIGITS, min(_digits(a[4]), _digits(b[4])))
    return bool(abs(a[4] - b[4]) > _EACH * max(a[6] or 1, b[6] or 1) + 0.5 * 10.0**-digits)


def _digits(value: float) -> int:
    exponent = Decimal(f"{value:.15g}").normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
