"""Damage in the spool becomes gaps: what may be missing, and nothing where a stream continues."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from services.memory_store import MemoryStore
from services.service_parts import BTC, PERP, START, Notes, kline, trade, unordered
from zvt_crypto.domain.events import Event
from zvt_crypto.domain.market import BookSample, Funding, MarkPrice
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.virtual import VirtualClock
from zvt_crypto.engine.holes import DAMAGED, gaps_of_break
from zvt_crypto.ports import SpoolBreak
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.record import Recorder
from zvt_crypto.stores.files.spool import FileSpool


def mark(second: int) -> MarkPrice:
    return MarkPrice(PERP, START + second * NS_PER_S, 1.0, None, None, None)


def told(before: list[Event], after: list[Event]) -> list[tuple[object, ...]]:
    gaps = gaps_of_break(SpoolBreak(before, after, 100))
    assert all(g.reason == DAMAGED and g.filled_from is None for g in gaps)
    return [(g.channel, (g.start_ns - START) // NS_PER_S, (g.end_ns - START) // NS_PER_S, g.first_id, g.last_id, g.interval) for g in gaps]


@pytest.mark.parametrize(
    ("before", "after", "gaps"),
    [
        ([trade(5)], [trade(9)], [("trade", 5, 9, 6, 8, None)]),
        ([trade(5)], [trade(6)], []),
        ([unordered(5)], [unordered(6)], [("trade", 5, 6, None, None, None)]),
        ([kline(1)], [kline(4)], [("kline", 120, 240, None, None, Interval.MIN_1)]),
        ([kline(1)], [kline(2)], []),
        ([kline(1, final=False)], [kline(4, final=False)], []),
        ([mark(1)], [mark(2)], []),
        ([mark(1)], [mark(9)], [("mark", 1, 9, None, None, None)]),
        ([Funding(PERP, START, 0.1)], [Funding(PERP, START + 9 * NS_PER_S, 0.1)], [("funding", 0, 9, None, None, None)]),
        ([BookSample(BTC, 1, [], [], START)], [BookSample(BTC, 2, [], [], START + 60 * NS_PER_S)], [("book", 0, 60, None, None, None)]),
        ([trade(5), mark(5)], [mark(6)], [("trade", 5, 6, 6, None, None)]),  # the trades end before the damage, or in it
        ([mark(5)], [trade(9), mark(6)], [("trade", 5, 9, None, 8, None)]),
        ([trade(5)], [], [("trade", 5, 5, 6, None, None)]),
        ([], [trade(5)], [("trade", 5, 5, None, 4, None)]),
        ([], [], []),
    ],
)
def test_what_lies_between_both_sides_may_be_missing(before: list[Event], after: list[Event], gaps: list[tuple[object, ...]]) -> None:
    assert told(before, after) == gaps


def test_a_damaged_spool_leaves_a_gap_in_the_store_and_a_note_and_the_rest_is_stored(tmp_path: Path) -> None:
    first = FileSpool(tmp_path, 4_000_000)
    first.append([trade(n) for n in range(1_000)])
    first.close()
    file = next(tmp_path.glob("*.spool"))
    data = bytearray(file.read_bytes())
    data[200] ^= 1
    file.write_bytes(data)

    async def go() -> None:
        spool, store, notes = FileSpool(tmp_path, 4_000_000), MemoryStore(), Notes()
        recorder = Recorder(MemoryFeed(), store, VirtualClock(), notes, spool)  # type: ignore[arg-type]
        assert recorder.backlog == 1_000  # 999 trades and the gap
        task = asyncio.create_task(recorder.run())
        await recorder.drained()
        task.cancel()
        ids = sorted(int(t.trade_id) for t in store.ticks.values())
        (missing,) = [a + 1 for a, b in pairwise(ids) if b != a + 1]
        (gap,) = await store.read_gaps(open_only=True)
        assert (len(ids), gap.first_id, gap.last_id, gap.channel) == (999, missing, missing, "trade")
        assert gap.start_ns < START + missing * NS_PER_S < gap.end_ns <= gap.start_ns + NS_PER_MINUTE
        assert [fields["gaps"] for _, event, fields in notes.notes if event == "spool_damaged"] == [1]
        assert notes.counts["spool_damaged_bytes"] > 0
        spool.close()

    virtual.run(go())
