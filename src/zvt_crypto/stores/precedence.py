"""Which of two versions of a bar is served: one comparison of (final, source, age), the greater wins.

Final beats forming; then the source decides, venue over import over trades over derived; then the newer.
"""

from __future__ import annotations

from typing import get_args

from zvt_crypto.domain.market import Kline, KlineSource

SOURCES: tuple[KlineSource, ...] = ("derived", "trades", "import", "venue")
# What tables hold: greater is better.
CODE: dict[KlineSource, int] = {source: code for code, source in enumerate(SOURCES, 1)}
assert set(SOURCES) == set(get_args(KlineSource))


def replaces(new: Kline, old: Kline) -> bool:
    """Whether `new`, which came later, is served instead of `old`. Both are versions of one bar."""
    return (new.final, CODE[new.source]) >= (old.final, CODE[old.source])
