"""Coinbase: Advanced Trade, with Exchange for trades by id; public side."""

from zvt_crypto.venues.coinbase.client import CoinbaseConnector
from zvt_crypto.venues.coinbase.spec import CoinbaseHosts, CoinbaseOptions

__all__ = ["CoinbaseConnector", "CoinbaseHosts", "CoinbaseOptions"]
