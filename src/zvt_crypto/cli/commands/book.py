"""`book`: the order book of a past instant, from the log of books in full."""

from __future__ import annotations

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.out import print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import check_count
from zvt_crypto.domain.market import BookSnapshot
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import parse_time, to_rfc3339
from zvt_crypto.services.booklog import rebuild_book

MOST_DEPTH = 100_000


def run_book(settings: Settings, symbol: str, *, at: str, depth: int, exchange: str | None, as_json: bool) -> int:
    """Print it. Raises NotFound where none was logged then, Stale where it was not valid."""
    at_ns = parse_time(at)
    check_count("depth", depth, MOST_DEPTH)

    async def go() -> BookSnapshot:
        async with open_database(settings) as store:
            instrument = (await store.instruments.load()).resolve(symbol, exchange)
            return await rebuild_book(store.book_log, instrument.id, at_ns)

    book = run(go)
    bids, asks = ([(decimal_text(price), decimal_text(size)) for price, size in side[:depth]] for side in (book.bids, book.asks))
    told = to_rfc3339(book.event_ns or book.recv_ns)
    if as_json:
        head = {"symbol": book.instrument, "at": to_rfc3339(at_ns), "timestamp": told, "update_id": book.last_id}
        print_json(head | {"bids": bids, "asks": asks, "levels": [len(book.bids), len(book.asks)]})
        return exits.OK
    print(f"{book.instrument} at {to_rfc3339(at_ns)}: update {book.last_id} of {told}, {len(book.bids)} bids and {len(book.asks)} asks")
    rows = [
        {"bid size": bid[1], "bid": bid[0], "ask": ask[0], "ask size": ask[1]}
        for bid, ask in zip(_filled(bids, depth), _filled(asks, depth), strict=True)
        if bid != ("", "") or ask != ("", "")
    ]
    print_table(rows, ["bid size", "bid", "ask", "ask size"])
    return exits.OK


def _filled(levels: list[tuple[str, str]], depth: int) -> list[tuple[str, str]]:
    return levels + [("", "")] * (depth - len(levels))
