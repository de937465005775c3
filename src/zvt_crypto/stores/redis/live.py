"""The newest of everything as it stands in Redis, so that a new process begins with it: tickers, last trades, last klines.

Two keys a shard hold one field an instrument (and interval); one key an instrument and interval holds its last final klines. Books stand
whole in the live stream (sending). Everything here can be lost: what comes next writes it anew, and the database has the klines.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import Kline, Ticker, Trade
from zvt_crypto.engine.shares import shard_of
from zvt_crypto.ports import Clock, Feed, Fence, Observer
from zvt_crypto.stores.redis.streams import SHARDS, Away

KEPT = 300  # final klines of an instrument and interval; the database has all
LIFE_S = 7 * 86_400  # what nobody writes for a week is of no instrument that is followed
EVERY_S = 1.0
BOUND = 50_000
AT_ONCE = 500  # series read or written in one go

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def newest_key(shard: int) -> str:
    """Field → the newest ticker, trade or forming kline."""
    return f"zvt:{{{shard}}}:newest"


def series_key(shard: int) -> str:
    """Which instruments and intervals have klines."""
    return f"zvt:{{{shard}}}:series"


def klines_key(shard: int, series: str) -> str:
    """The last final klines, ordered by their opens."""
    return f"zvt:{{{shard}}}:klines:{series}"


class LiveKeeper:
    """Keeps what a feed says there, once a second; what a server that is away did not take is written later, the newest of it."""

    def __init__(self, client: Any, feed: Feed, clock: Clock, observer: Observer, fence: Fence) -> None:
        self._client, self._clock, self._observer, self._fence, self._away = client, clock, observer, fence, Away()
        self._trades = feed.subscribe("live trades", bound=1_000, when_full="conflate", kinds=(Trade,))
        self._others = feed.subscribe("live state", bound=BOUND, when_full="drop", kinds=(Ticker, Kline))
        self._newest: dict[str, Event] = {}  # by field, what is not written yet
        self._finals: dict[str, dict[int, Kline]] = defaultdict(dict)  # by series and open

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            await self._gather()
            if self._fence.is_lost or not self._fence.may_publish():
                continue
            try:
                await self._away.ask("keep live state", self._write())
            except StoreUnavailable as error:
                self._observer.count("live_state_not_kept")
                self._observer.note("warning", "live_state_not_kept", reason=str(error))

    async def _gather(self) -> None:
        for reader in (self._trades, self._others):
            for event in await reader.receive() if reader.pending() else ():
                self._take(event)

    def _take(self, event: Event) -> None:
        match event:
            case Trade():
                self._newest[f"trade {event.instrument}"] = event
            case Ticker():
                self._newest[f"ticker {event.instrument}"] = event
            case Kline(final=False):
                self._newest[f"kline {_series(event)}"] = event
            case Kline():
                finals = self._finals[_series(event)]
                finals[event.open_ns] = event
                while len(finals) > KEPT:
                    del finals[min(finals)]

    async def _write(self) -> None:
        fields: dict[int, dict[str, Event]] = defaultdict(dict)
        for field, event in self._newest.items():
            fields[shard_of(event.instrument, SHARDS)][field] = event  # type: ignore[union-attr]
        for shard, found in fields.items():
            await self._client.hset(newest_key(shard), mapping={field: _encode(event) for field, event in found.items()})
            await self._client.expire(newest_key(shard), LIFE_S)
            for field, event in found.items():
                if self._newest.get(field) is event:
                    del self._newest[field]
        for series in list(self._finals):
            await self._write_series(series, list(self._finals[series].values()))
            del self._finals[series]

    async def _write_series(self, series: str, finals: list[Kline]) -> None:
        shard = shard_of(finals[0].instrument, SHARDS)
        key = klines_key(shard, series)
        await self._client.sadd(series_key(shard), series)
        await self._client.zadd(key, {_encode(kline): kline.open_ns for kline in finals})
        await self._client.zremrangebyrank(key, 0, -KEPT - 1)
        await self._client.expire(key, LIFE_S)


async def load_live(client: Any) -> list[Event]:
    """What stands there, for a live state that begins: klines of a series oldest first. Raises StoreUnavailable."""

    async def load() -> list[bytes]:
        return [payload for shard in range(SHARDS) for payload in await _load_shard(client, shard)]

    return [_decode(payload) for payload in await Away().ask("read live state", load())]


async def _load_shard(client: Any, shard: int) -> list[bytes]:
    made: list[bytes] = []
    names = sorted(await client.smembers(series_key(shard)))
    for start in range(0, len(names), AT_ONCE):
        keys = [(name, klines_key(shard, name.decode())) for name in names[start : start + AT_ONCE]]
        found = [(name, await client.zrange(key, 0, -1)) for name, key in keys]
        made += [payload for _, payloads in found for payload in payloads]
        if gone := [name for name, payloads in found if not payloads]:
            await client.srem(series_key(shard), *gone)
    return made + list((await client.hgetall(newest_key(shard))).values())


def _series(kline: Kline) -> str:
    return f"{kline.instrument} {kline.interval.slug}"
