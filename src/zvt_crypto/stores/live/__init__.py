"""The newest of everything."""

from zvt_crypto.stores.live.memory import MemoryLiveState

__all__ = ["MemoryLiveState"]
