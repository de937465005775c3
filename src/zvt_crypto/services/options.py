"""What may be set about the live path, with the reasons of the defaults."""

from __future__ import annotations

from typing import Literal

import msgspec


class IngestOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, unless the name says otherwise."""

    # Trades
    trades_since_ns: int | None = None  # where nothing is stored yet, begin here instead of with the first live trade
    # trades_since_ns is before the first trade of a recording, which is played from its begin, or from somewhere midway.
    of_recording: Literal["begin", "midway"] | None = None
    max_catch_up_s: float = 6 * 3600.0  # what is older than this (by the venue's clock) is backfill's work: flagged as a gap
    page_rows: int = 1_000  # Binance's most
    reorder_s: float = 0.1  # two frames that overtook one another are no gap
    empty_tries: int = 5  # a REST server that has not yet what its stream already showed is asked again this often
    malformed_tries: int = 3  # an answer that cannot be read is hardly ever another one the next time, and live trades wait for it
    patience_s: float = 120.0  # then a gap is flagged and live data flows on; backfill heals it later
    # Klines
    closing_s: float = 2.0  # a closing frame may come after the next kline's first one
    max_klines: int = 100_000  # of one instrument and interval caught up after a start: 69 days of minutes
    # Minutes made of trades, held against the venue's own where it streams none
    check_minutes_s: float = 180.0  # a call a symbol: 600 symbols take 4 of Coinbase's 10 requests a second at the most
    check_settle_s: float = 20.0  # candles are gathered after the trades: what closed earlier is not read twice
    # Connections
    first_wait_s: float = 0.25
    most_wait_s: float = 30.0
    stable_s: float = 10.0
    check_s: float = 0.2
    silence_floor_s: float = 3.5  # found with check_s, and a book by a new connection within the promised 5 s, on a busy machine too
    silence_cap_s: float = 25.0  # a partial mute is found within 30 s
    first_data_s: float = 10.0
    rotate_after_s: float = 23 * 3600 + 50 * 60.0  # Binance cuts at 24 h
    overlap_s: float = 2.0  # shortest time that both connections of a rotation run
    max_overlap_s: float = 20.0
    geo_recheck_s: float = 3600.0  # a region does not change by asking; a proxy or a rule may
    # Tables
    refresh_s: float = 3600.0
    funding_poll_s: float = 600.0
