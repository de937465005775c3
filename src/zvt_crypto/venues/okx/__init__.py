"""OKX: spot, perpetual and dated contracts, public side."""

from zvt_crypto.venues.okx.client import OkxConnector
from zvt_crypto.venues.okx.spec import OkxHosts, OkxOptions

__all__ = ["OkxConnector", "OkxHosts", "OkxOptions"]
