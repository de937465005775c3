"""What the driver raises."""

from __future__ import annotations

import asyncio


def driver_errors() -> tuple[type[Exception], ...]:
    """What the driver raises where a server does not answer, or not rightly; its Cluster has an error that is none of its others."""
    import redis.exceptions

    return redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError, TimeoutError, asyncio.IncompleteReadError
