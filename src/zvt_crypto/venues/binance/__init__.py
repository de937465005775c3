"""Binance: spot and USD-M futures, public side."""

from zvt_crypto.venues.binance.client import BinanceConnector
from zvt_crypto.venues.binance.spec import BinanceHosts, BinanceOptions

__all__ = ["BinanceConnector", "BinanceHosts", "BinanceOptions"]
