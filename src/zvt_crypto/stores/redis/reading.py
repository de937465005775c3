"""The streams of a shard, onto a feed of this process: to record them, or to serve them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.ports import Clock, Fence, Observer
from zvt_crypto.stores.redis.counted import Continuity, Entry, order_of
from zvt_crypto.stores.redis.streams import Away, feed_key, live_key, look_again, position_key

READ_ENTRIES = 200
BLOCK_MS = 500
BEGIN_MS = 5_000  # how far back of `live` who begins to serve looks: more than the time between two whole books
AGAIN_S = 0.3

_decode = msgspec.msgpack.Decoder(list[Event]).decode


class FeedReader:
    """One shard's streams, onto a feed of this process."""

    def __init__(self, client: Any, shard: int, publish: Callable[[Event], None], clock: Clock, observer: Observer) -> None:
        self._client, self._shard, self._publish, self._clock, self._observer = client, shard, publish, clock, observer
        self._away = Away()
        self._epochs: dict[str, int] = {}
        self.is_away = False

    async def serve(self) -> None:
        """All that is new, until cancelled."""
        places = {feed_key(self._shard): "$", live_key(self._shard): "$"}
        begun = False
        while True:
            try:
                if not begun:
                    now_ms = await self._now_ms()
                    places = {feed_key(self._shard): f"{now_ms}-0", live_key(self._shard): f"{max(0, now_ms - BEGIN_MS)}-0"}
                    begun = True
                for entry in await self._read(places):
                    places[entry.key] = entry.id
                    for event in entry.events:
                        if self._is_followed(event, entry.epoch):
                            self._publish(event)
            except StoreUnavailable as error:
                await self._wait(error)
                begun = False

    async def record(self, stored: Callable[[], Awaitable[None]], fence: Fence) -> None:
        """What must be stored, from where the last recorder ended, until cancelled. `stored` returns once what was published is."""
        key, known = feed_key(self._shard), None
        while True:
            try:
                known = known or await self._begin()
                entries = await self._read({key: known.place})
                if not entries:
                    known.place = await self._checked(known.place)
                    continue
                for entry in entries:
                    for event in known.take(entry):
                        self._publish(event)
                await stored()
                if fence.may_publish():
                    await self._away.ask("keep the position", self._client.set(position_key(self._shard), known.save()))
            except StoreUnavailable as error:
                await self._wait(error)

    async def _begin(self) -> Continuity:
        known = Continuity()
        known.load(await self._away.ask("read the position", self._client.get(position_key(self._shard))))
        return known

    async def _checked(self, place: str) -> str:
        """The beginning, where the stream has never been as far: the server lost it, and begins anew."""
        key = feed_key(self._shard)
        if not await self._away.ask("look at the stream", self._client.exists(key)):
            return place  # there is none yet, or again
        told = await self._away.ask("look at the stream", self._client.xinfo_stream(key))
        last = told["last-generated-id"]
        return place if order_of(last.decode() if isinstance(last, bytes) else last) >= order_of(place) else "0-0"

    async def _read(self, places: dict[str, str]) -> list[Entry]:
        """What is new, oldest first."""
        answer = await self._away.ask("read", self._client.xread(dict(places), count=READ_ENTRIES, block=BLOCK_MS))
        self.is_away = False
        made = []
        for key, entries in answer.items() if isinstance(answer, dict) else answer or ():
            for entry_id, fields in _flat(entries):
                numbers = int(fields[b"e"]), int(fields[b"n"])
                made.append(Entry(key.decode(), entry_id.decode(), fields[b"w"].decode(), *numbers, self._events(fields)))
        return made

    def _events(self, fields: dict[bytes, bytes]) -> list[Event]:
        try:
            return _decode(fields[b"d"])
        except msgspec.MsgspecError as error:
            self._observer.count("feed_unreadable")
            self._observer.note("error", "feed_unreadable", version=fields.get(b"v", b"").decode(), reason=str(error))
            return []

    def _is_followed(self, event: Event, epoch: int) -> bool:
        if not isinstance(event, BookSnapshot | BookDelta | BookStale):
            return True
        held = self._epochs.get(event.instrument, 0)
        if epoch > held:
            if not isinstance(event, BookSnapshot):
                return False  # of a new writer, its first whole book comes first
            self._epochs[event.instrument] = epoch
        return epoch >= held

    async def _now_ms(self) -> int:
        if hasattr(self._client, "get_node_from_key"):
            await self._away.ask("find the shard", self._client.initialize())
            node = self._client.get_node_from_key(feed_key(self._shard))
            seconds, micros = await self._away.ask("read the time", self._client.time(target_nodes=node))
        else:
            seconds, micros = await self._away.ask("read the time", self._client.time())
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def _wait(self, error: StoreUnavailable) -> None:
        if not self.is_away:
            self.is_away = True
            self._observer.note("warning", "feed_away", shard=self._shard, reason=str(error))
        await self._clock.sleep(AGAIN_S)
        await look_again(self._client)


def _flat(entries: Any) -> Iterable[tuple[bytes, dict[bytes, bytes]]]:
    """One protocol answers with the entries, another with a list of such."""
    return entries[0] if entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple) else entries
