"""Bybit v5: spot, linear and inverse contracts, public side."""

from zvt_crypto.venues.bybit.client import BybitConnector
from zvt_crypto.venues.bybit.spec import BybitHosts, BybitOptions

__all__ = ["BybitConnector", "BybitHosts", "BybitOptions"]
