"""ZVT Crypto: market data you can trust, from the exchange's wire to your own API.

Public names are loaded when they are first used (PEP 562), so that importing this costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__version__ = "0.1.0"

# Name → the module that holds it.
_NAMES: dict[str, str] = {
    **dict.fromkeys(
        (
            "CryptoAsset",
            "CryptoFuture",
            "CryptoInstrument",
            "CryptoPair",
            "CryptoPerp",
            "EXCHANGES",
            "Instrument",
            "Instruments",
            "TradableEntity",
            "TradingStatus",
        ),
        "zvt_crypto.domain.instrument",
    ),
    **dict.fromkeys(
        ("BookDelta", "BookSnapshot", "BookStale", "Funding", "Gap", "KData", "Kline", "MarkPrice", "Ticker", "Trade"),
        "zvt_crypto.domain.market",
    ),
    **dict.fromkeys(("INTERVALS", "Interval", "parse_time"), "zvt_crypto.domain.time"),
    **dict.fromkeys(
        (
            "BadInput",
            "ConstraintViolated",
            "NotFound",
            "StoreError",
            "StoreUnavailable",
            "UnknownExchange",
            "UnknownInterval",
            "UnknownSymbol",
            "VenueError",
            "ZvtCryptoError",
        ),
        "zvt_crypto.domain.errors",
    ),
    "ExchangeConnector": "zvt_crypto.ports",
    "CryptoStreamService": "zvt_crypto.services.stream",
    **dict.fromkeys(("Settings", "load_settings"), "zvt_crypto.cli.settings"),
    **dict.fromkeys(("query_funding", "query_trades"), "zvt_crypto.cli.frames"),
    **dict.fromkeys(("query_data", "record_data", "sync_instruments"), "zvt_crypto.cli.data"),
    **dict.fromkeys(
        (
            "add_instrument",
            "delist_instrument",
            "get_asset",
            "get_assets",
            "get_facts",
            "get_instrument",
            "get_instruments",
            "import_assets",
            "rename_instrument",
            "save_asset",
            "search_assets",
            "update_instrument",
        ),
        "zvt_crypto.cli.entities",
    ),
}

__all__ = ["SYMBOL_MAPPINGS", "__version__", *_NAMES]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "SYMBOL_MAPPINGS":
        return importlib.import_module("zvt_crypto.cli.data").SymbolMappings()
    module = _NAMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
