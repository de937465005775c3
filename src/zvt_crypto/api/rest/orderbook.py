"""GET /orderbook: the top of a valid book, or the plain word that there is none; with `at` that of a past instant."""

from __future__ import annotations

from collections.abc import Mapping

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.fetched import Fetched
from zvt_crypto.api.query import whole
from zvt_crypto.api.rest.hot import Answer, find_instrument
from zvt_crypto.api.rows import digits_of, encode, level_rows
from zvt_crypto.api.shapes import OrderBook
from zvt_crypto.domain.errors import NotFound, Stale
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import BookSnapshot, Level
from zvt_crypto.domain.time import NS_PER_MS, parse_time, to_rfc3339
from zvt_crypto.services.booklog import rebuild_book

DEFAULT_DEPTH = 20
MOST_DEPTH = 1_000  # the deepest snapshot that our books begin with


def orderbook_answer(deps: ApiDeps) -> Answer:
    """The endpoint's work: the live book where one is kept, otherwise the exchange's snapshot. Raises Stale, NotFound."""
    fetched: Fetched[BookSnapshot] = Fetched(deps.clock)

    async def answer(query: Mapping[str, str]) -> bytes:
        depth = whole(query, "depth", DEFAULT_DEPTH, 1, MOST_DEPTH)
        instrument = find_instrument(deps.instruments(), query)
        at = query.get("at")
        if at is not None:
            past = await rebuild_book(deps.store.book_log, instrument.id, parse_time(at))
            tops = (past.bids[:depth], past.asks[:depth])
            return encode(_row(instrument, tops, past.event_ns, past.recv_ns, past.last_id, parse_time(at)))
        book = deps.live.book(instrument.id)
        if book is None:
            snapshot = await _ask(deps, fetched, instrument, depth)
            tops = (snapshot.bids[:depth], snapshot.asks[:depth])
            return encode(_row(instrument, tops, snapshot.event_ns, snapshot.recv_ns, snapshot.last_id, deps.clock.now_ns()))
        if not book.is_valid:
            raise Stale(f"the book of {instrument.id} is being resynchronised; its last state is not served")
        return encode(_row(instrument, book.top(depth), book.event_ns, book.recv_ns, book.last_id, deps.clock.now_ns()))

    return answer


async def _ask(deps: ApiDeps, fetched: Fetched[BookSnapshot], instrument: Instrument, depth: int) -> BookSnapshot:
    connector = deps.connectors.get(instrument.exchange)
    if connector is None:
        raise NotFound(f"no book of {instrument.id}: none is kept live, and there is no connection to {instrument.exchange}")
    return await fetched.get((instrument.id, depth), lambda: connector.get_order_book(instrument.id, depth))


def _row(
    instrument: Instrument, tops: tuple[list[Level], list[Level]], event_ns: int, recv_ns: int, update_id: int, now_ns: int
) -> OrderBook:
    digits = digits_of(instrument)
    return OrderBook(
        bids=level_rows(tops[0], digits),
        asks=level_rows(tops[1], digits),
        timestamp=to_rfc3339(event_ns or recv_ns),  # Binance spot gives a snapshot no time of its own
        symbol=instrument.id,
        stale=False,
        age_ms=max(0, now_ns - recv_ns) // NS_PER_MS if recv_ns else None,
        update_id=update_id,
    )
