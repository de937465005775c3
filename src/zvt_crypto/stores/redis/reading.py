"""The streams of a shard, onto a feed of this process: to record them, or to serve them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.events import Event, FeedPosition
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock, Fence, Observer, Recording
from zvt_crypto.stores.redis.counted import Continuity, Entry, order_of
from zvt_crypto.stores.redis.following import Following
from zvt_crypto.stores.redis.streams import Away, feed_key, live_key, look_again

READ_ENTRIES = 200
BLOCK_MS = 500
BEGIN_MS = 5_000  # how far back of `live` who begins to serve looks: more than the time between two whole books
AGAIN_S = 0.3
TRIM_NS = 5 * NS_PER_S
KEEP_MS = 60_000  # for those who serve, and were away for a moment

_decode = msgspec.msgpack.Decoder(list[Event]).decode


class FeedReader:
    """One shard's streams, onto a feed of this process."""

    def __init__(self, client: Any, shard: int, publish: Callable[[Event], None], clock: Clock, observer: Observer) -> None:
        self._client, self._shard, self._publish, self._clock, self._observer = client, shard, publish, clock, observer
        self._away = Away()
        self._following, self._heard = Following(), Following()
        self._trimmed_ns = 0
        self.is_away = False

    async def serve(self) -> None:
        """All that is new, until cancelled. What must be stored goes on where it was left while the server was away; books begin anew."""
        feed, live = feed_key(self._shard), live_key(self._shard)
        places: dict[str, str] = {}
        while True:
            try:
                if live not in places:
                    now_ms = await self._now_ms()
                    places = {feed: f"{now_ms}-0", live: f"{max(0, now_ms - BEGIN_MS)}-0"} | places
                for entry in await self._read(places):
                    places[entry.key] = entry.id
                    followed = self._following if entry.key == live else self._heard
                    self._say(followed.take(entry, self._clock.now_ns()))
                if ended := self._following.silent(self._clock.now_ns()):
                    self._say(ended)
                    places = {}  # a server that took over may have another clock: its entries are looked for anew
            except StoreUnavailable as error:
                self._say(self._following.away(self._clock.now_ns()))
                await self._wait(error)
                places.pop(live, None)

    async def record(self, stored: Callable[[], Awaitable[None]], fence: Fence, recording: Recording) -> None:
        """What must be stored, from where the last recorder ended, until cancelled. `stored` returns once what was published is; the
        position is published behind it, for `recording` to store with it."""
        key, known = feed_key(self._shard), None
        while True:
            try:
                known = known or await self._begin(recording)
                entries = await self._read({key: known.place})
                if not entries:
                    known.place = await self._checked(known.place)
                    continue
                for entry in entries:
                    for event in known.take(entry):
                        self._publish(event)
                is_ours = fence.may_publish()
                if is_ours:
                    self._publish(FeedPosition(self._shard, known.save()))
                await stored()
                if is_ours:
                    await self._trim(key, known.place)
            except StoreUnavailable as error:
                await self._wait(error)

    async def _trim(self, key: str, place: str) -> None:
        """Let go of what is stored, but for the last minute of it, so that the stream takes the room of what waits."""
        now_ns = self._clock.now_ns()
        if now_ns - self._trimmed_ns >= TRIM_NS:
            self._trimmed_ns = now_ns
            least = f"{max(0, order_of(place)[0] - KEEP_MS)}-0"
            await self._away.ask("let go of what is stored", self._client.xtrim(key, minid=least, approximate=True))

    async def _begin(self, recording: Recording) -> Continuity:
        known = Continuity()
        known.load(next((held.mark for held in await recording.positions() if held.shard == self._shard), None))
        return known

    def _say(self, events: Iterable[Event]) -> None:
        for event in events:
            self._publish(event)

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
