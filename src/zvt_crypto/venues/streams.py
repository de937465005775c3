"""Several connections as one: their events merged, and the iterators of the connectors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.ports import ExchangeConnector, Subscription, VenueStream


async def events_of(
    connector: ExchangeConnector, subscriptions: Sequence[Subscription], kinds: tuple[type, ...]
) -> AsyncGenerator[MarketEvent, None]:
    """Events of the kinds, over as many connections as the connector's routes. Ends with the first error; closes all."""
    streams: list[VenueStream] = []
    try:
        for route in connector.routes(subscriptions):
            streams.append(await connector.open_stream(route))  # noqa: PERF401 -- those opened before a failure are closed below
    except BaseException:
        for stream in streams:
            await stream.close()
        raise
    async with aclosing(merge(streams)) as events:
        async for event in events:
            if isinstance(event, kinds):
                yield event


async def merge(streams: Sequence[VenueStream]) -> AsyncGenerator[MarketEvent, None]:
    """The events of several connections as they come. Ends with the first error; closes all of them at the end."""
    tasks = {asyncio.create_task(stream.receive()): stream for stream in streams}
    try:
        while True:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in [one for one in tasks if one in done]:
                stream = tasks.pop(task)
                for event in task.result():
                    yield event
                tasks[asyncio.create_task(stream.receive())] = stream
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream in streams:
            await stream.close()
