"""Where parts are plugged together: one process that follows an exchange, records it and serves it. `roles` does it for several."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.entities import name_new_assets
from zvt_crypto.cli.front import Front
from zvt_crypto.cli.pulse import Pulse
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.services.booklog import BookLogOptions
from zvt_crypto.services.books import BookOptions
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.ingest import Subscriptions
from zvt_crypto.services.plan import plan_listed
from zvt_crypto.services.platform import Platform, PlatformOptions, TapFeed
from zvt_crypto.stores.files.spool import FileSpool
from zvt_crypto.stores.live import MemoryLiveState
from zvt_crypto.telemetry.health import Health, State
from zvt_crypto.telemetry.metrics import PrometheusObserver
from zvt_crypto.venues.clock import SystemClock

if TYPE_CHECKING:
    from zvt_crypto.domain.events import StreamStatus
    from zvt_crypto.ports import ExchangeConnector, Store

HEALTH_S = 1.0
BOOKS_NAMED = 5  # of those that are missing
STREAM_STATES: dict[str, State] = {
    "live": "ok",
    "stopped": "ok",
    "connecting": "degraded",
    "lost": "degraded",
    "geo_blocked": "failed",
}


class Node:
    """Everything of one process, wired. Made by `open_node`; `run` works until told to stop."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        connectors: Sequence[ExchangeConnector],
        observer: PrometheusObserver,
        platform: Platform,
        live: MemoryLiveState,
        pulse: Pulse,
    ) -> None:
        self.settings, self.store, self.observer = settings, store, observer
        self.connectors = {connector.exchange: connector for connector in connectors}
        self._table = Union()
        self.platform, self.live, self.pulse = platform, live, pulse
        self.recorder = platform.recorder
        self.clock = SystemClock()
        self.health = Health(self.clock)
        self.health.watch("database", store.ping)
        shown = self.instruments, self.connectors, self.health, observer, self.clock, self.follows
        self.front = Front(settings, store, live, platform.feed, *shown)

    def instruments(self) -> Instruments:
        """The newest table, of all exchanges."""
        return self._table.of([connector.instruments for connector in self.connectors.values()])

    def followed(self) -> list[str]:
        """Entity ids that are subscribed to, each once."""
        return list(dict.fromkeys(s.instrument for ingest in self.platform.ingests for s in ingest.subscriptions))

    def follows(self, entity_id: str) -> bool:
        """Whether it is subscribed to; until that is known, whatever is asked for may come."""
        followed = self.followed()
        return not followed or entity_id in followed

    @property
    def api_url(self) -> str:
        """Where REST is, "" where it is not served."""
        return self.front.api_url

    @property
    def ws_url(self) -> str:
        """Where the WebSocket is."""
        return self.front.ws_url

    async def run(self, until: Awaitable[object]) -> None:
        """Follow, record and answer until `until` is done; what was received is stored then. Raises GaveUp."""
        work = asyncio.create_task(self.platform.run(), name="platform")
        ends = [
            asyncio.ensure_future(until),
            asyncio.create_task(self._report()),
            *(asyncio.create_task(s.wait()) for s in self.front.servers),
        ]
        try:
            done, _ = await asyncio.wait([work, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _end(ends)
            self.platform.stop()
            await asyncio.wait([work])
        work.result()

    async def _report(self) -> None:
        """Health, once a second, from what the parts say of themselves."""
        while True:
            for name, status in list(self.pulse.streams.items()):
                self.health.report(f"stream {name}", STREAM_STATES[status.state], reason_of(status))
            state: Literal["ok", "degraded"] = "degraded" if self.recorder.is_down else "ok"
            self.health.report("books", *books_state(self.platform.missing_books()))
            self.health.report("record", state, f"the database takes no rows, {self.recorder.backlog} wait" if state == "degraded" else "")
            await asyncio.sleep(HEALTH_S)


def books_state(missing: Sequence[str]) -> tuple[State, str]:
    """Of followed books that are not there: a connection may be live, again and again, and never bring one."""
    if not missing:
        return "ok", ""
    rest = len(missing) - BOOKS_NAMED
    return "degraded", f"no valid book of {', '.join(missing[:BOOKS_NAMED])}{f' and {rest} more' if rest > 0 else ''}"


class Union:
    """Several tables as one, made anew only when one of them was replaced."""

    def __init__(self) -> None:
        self._parts: list[Instruments] = []
        self._whole: Instruments | None = None

    def of(self, parts: list[Instruments]) -> Instruments:
        """The one table."""
        if len(parts) == 1:
            return parts[0]
        if self._whole is None or any(new is not old for new, old in zip(parts, self._parts, strict=True)):
            self._parts = parts
            self._whole = Instruments([instrument for part in parts for instrument in part])
        return self._whole


@contextlib.asynccontextmanager
async def open_node(
    settings: Settings,
    observer: PrometheusObserver,
    *,
    serve: bool = True,
    movable: Collection[str] = (),
    subscriptions: Subscriptions | None = None,
    options: PlatformOptions | None = None,
) -> AsyncIterator[Node]:
    """Database, connectors and every part; ports open (unless not `serve`), nothing running yet. Closed in reverse order.

    `movable`: see Front.open.
    """
    chosen = settings.ingest
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_database(settings, observer))
        connectors = [
            await stack.enter_async_context(open_connector(settings, exchange, observer=observer))
            for exchange in dict.fromkeys(chosen.exchanges)
        ]
        books = BookOptions(levels=chosen.book_levels, every_s=chosen.book_every_s)
        live, pulse, spool = MemoryLiveState(), Pulse(), FileSpool(settings.spool_dir, chosen.spool_mb * 1_000_000)
        try:
            platform = Platform(
                connectors,
                subscriptions or (lambda c: plan_listed(c, chosen.symbols, chosen.channels, alone=len(connectors) == 1)),
                store,
                SystemClock(),
                observer,
                feed=TapFeed(MemoryFeed(observer), pulse.take),
                live=live,
                spool=spool,
                options=msgspec.structs.replace(
                    options or PlatformOptions(), books=books, book_log=BookLogOptions() if chosen.book_log else None
                ),
                describe=name_new_assets([asset for c in connectors for asset in await store.instruments.load_assets(c.exchange)]),
            )
            node = Node(settings, store, connectors, observer, platform, live, pulse)
            try:
                if serve:
                    await node.front.open(movable)
                yield node
            finally:
                await node.front.close()
        finally:
            spool.close()


async def _end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def reason_of(status: StreamStatus) -> str:
    """Why it is not live, "" where it is."""
    return status.reason if status.state != "live" else ""
