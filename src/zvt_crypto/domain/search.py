"""How assets are found by what people type.

An exact symbol or an exact full name wins alone, so `bitcoin` finds Bitcoin and not also Bitcoin Cash, and `bitcoin cash` finds
that one. Only where nothing is exact do looser matches answer, best first: a symbol that begins with the text, a name that does,
a later word of a name that does, then the text anywhere inside.
"""

from __future__ import annotations

from collections.abc import Iterable

from zvt_crypto.domain.instrument import CryptoAsset

_EXACT, _SYMBOL_STARTS, _NAME_STARTS, _WORD_STARTS, _INSIDE, _NONE = range(6)


def rank_assets(text: str, assets: Iterable[CryptoAsset]) -> list[CryptoAsset]:
    """The assets that answer to `text`, best first; equal ones by symbol, then id. Case and spacing do not count; blank finds none."""
    wanted = _fold(text)
    if not wanted:
        return []
    ranked = [(_rank(wanted, asset), _fold(asset.symbol), asset.id, asset) for asset in assets]
    best = min((rank for rank, *_ in ranked), default=_NONE)
    most = _EXACT if best == _EXACT else _INSIDE
    return [asset for rank, *_, asset in sorted(ranked, key=lambda row: row[:3]) if rank <= most]


def _rank(wanted: str, asset: CryptoAsset) -> int:
    symbol, name = _fold(asset.symbol), _fold(asset.full_name or "")
    if wanted in (symbol, name):
        return _EXACT
    if symbol.startswith(wanted):
        return _SYMBOL_STARTS
    if name.startswith(wanted):
        return _NAME_STARTS
    if f" {wanted}" in name:
        return _WORD_STARTS
    return _INSIDE if wanted in symbol or wanted in name else _NONE


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
