"""The door to every other exchange: through the library ccxt (the extra `zvt-crypto[ccxt]`), slower, and with what ccxt can prove."""

from zvt_crypto.venues.ccxt.client import CcxtConnector

__all__ = ["CcxtConnector"]
