"""Limits that machines share which leave through one address (engine.limits.LimitTable): one key, changed by compare and swap.

While the server is away each process goes on with what it last saw, and with a part of each limit, since it counts alone then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from zvt_crypto.domain.errors import BadConfig, shown
from zvt_crypto.engine.limits import ALONE_SHARE, Limits
from zvt_crypto.ports import Observer

if TYPE_CHECKING:
    import redis

T = TypeVar("T")
KEY = "zvt-crypto:limits"
# A change takes some 0.5 ms. Longer than this the caller does not stand still for it.
TIMEOUT_S = 0.25
# How often a change is tried again when others were faster. Each loser means that somebody won.
TRIES = 50
# Unreachable, the server is left alone for so long.
RETRY_S = 5.0
# A table that nobody touches for a day holds nothing that counts.
LIFE_S = 86_400


class RedisLimits:
    """The table under `key`. Raises BadConfig for an address that is none, or without the package."""

    def __init__(self, url: str, observer: Observer, *, key: str = KEY, monotonic: Callable[[], float] = time.monotonic) -> None:
        try:
            import redis
        except ModuleNotFoundError:
            raise BadConfig("limits.redis needs the package redis: pip install 'zvt-crypto[redis]'") from None
        try:
            self._client: redis.Redis = redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
        except ValueError as error:
            raise BadConfig(f"limits.redis {shown(url.rpartition('@')[2])} is no address of a Redis server: {error}") from None
        self._away = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)
        self._raced = redis.exceptions.WatchError
        self._observer, self._key, self._monotonic = observer, key, monotonic
        self._seen = Limits()
        self._away_until = 0.0

    def change(self, apply: Callable[[Limits], T]) -> T:
        """Read, apply, write if nobody was faster; else once more."""
        if self._monotonic() >= self._away_until:
            try:
                return self._change(apply)
            except self._away as error:
                self._away_until = self._monotonic() + RETRY_S
                self._observer.note("warning", "limits_not_shared", reason=str(error))
                self._observer.count("limits_not_shared")
        self._seen.share = ALONE_SHARE
        return apply(self._seen)

    def _change(self, apply: Callable[[Limits], T]) -> T:
        with self._client.pipeline() as pipe:
            for _ in range(TRIES):
                pipe.watch(self._key)  # type: ignore[no-untyped-call]
                limits = _decoded(pipe.get(self._key))
                made = apply(limits)
                pipe.multi()
                pipe.set(self._key, msgspec.json.encode(limits), ex=LIFE_S)
                try:
                    pipe.execute()
                except self._raced:
                    continue
                self._seen = limits
                return made
        raise self._away[0](f"{TRIES} others were faster, each time")

    def close(self) -> None:
        """Release the connections."""
        self._client.close()


def _decoded(content: object) -> Limits:
    """An empty table for what is none: counts are lost then, which the venue's own headers mend."""
    try:
        return msgspec.json.decode(content, type=Limits) if isinstance(content, bytes) else Limits()
    except msgspec.MsgspecError:
        return Limits()
