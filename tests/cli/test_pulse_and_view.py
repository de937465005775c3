"""What a person sees while it runs."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from zvt_crypto.cli import exits, view
from zvt_crypto.cli.commands import replay, up
from zvt_crypto.cli.pulse import Pulse
from zvt_crypto.cli.run import run
from zvt_crypto.domain.errors import BadInput, GaveUp, NotFound, PortTaken, StoreError, StoreFull, UnknownSymbol, Unreachable
from zvt_crypto.domain.events import StreamStatus
from zvt_crypto.domain.instrument import CryptoPair, Instruments, pair_id
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Gap, Kline, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.services.feed import MemoryFeed
from zvt_crypto.services.platform import TapFeed
from zvt_crypto.stores.live import MemoryLiveState

BTC = pair_id("binance", "BTC", "USDT")
MS = 1_000_000


def trade(number: int, lag_ms: int = 1) -> Trade:
    at = 1_700_000_000_000 * MS + number * MS
    return Trade(BTC, "trade", str(number), 60_000.5, 0.25, "buy", at, at + lag_ms * MS)


def kline(final: bool = True, source: str = "venue") -> Kline:
    return Kline(BTC, Interval.MIN_1, 1_700_000_040_000 * MS, 1.0, 2.0, 0.5, 1.5, 3.0, 4.0, 7, final, source)  # type: ignore[arg-type]


def gap(filled: str | None = None) -> Gap:
    return Gap(BTC, "trade", 1, 2, 5, 6, "lost", filled)


def test_lags_are_percentiles_of_the_newest() -> None:
    pulse = Pulse()
    assert pulse.lag_ms(0.5) is None
    for lag in range(1, 101):
        pulse.take(trade(lag, lag))
    assert pulse.lag_ms(0.5) == 51.0
    assert pulse.lag_ms(0.99) == 100.0
    assert pulse.lag_ms(1.0) == 100.0


def test_what_happened_before_the_newest_connection_is_no_lag() -> None:
    pulse = Pulse()
    pulse.take(trade(0, 5))
    began_ns = 1_700_000_000_000 * MS + 10 * MS
    pulse.take(StreamStatus("binance", "1", "live", "", began_ns, began_ns))
    pulse.take(trade(9, 21_000))
    pulse.take(trade(10, 7))
    assert (pulse.lag_ms(0.0), pulse.lag_ms(1.0)) == (5.0, 7.0)


@pytest.mark.parametrize(
    ("width", "shown"),
    [(200, list(range(10))), (93, list(range(10))), (92, [0, 1, 2, 3, 4, 5, 7, 8, 9]), (60, [0, 1, 3, 4, 7, 8]), (1, [0, 1])],
)
def test_a_narrow_terminal_shows_fewer_columns_and_no_cut_number(width: int, shown: list[int]) -> None:
    row = ("BTC/USDT", "60000.1", "60000.1", "60000.1", "60000.1", "12345.6", "1.2", "60000.1", "60000.2", "1.5")
    assert view.fitting(view.COLUMNS, view.DISPENSABLE, [row], width) == shown


def test_the_rate_is_a_mean_over_seconds() -> None:
    pulse = Pulse()
    assert pulse.rate(0.0) == 0.0
    for number in range(50):
        pulse.take(trade(number))
    assert pulse.rate(2.0) == 25.0
    assert pulse.rate(20.0) == 0.0


def test_only_the_venues_closed_klines_count_as_closed() -> None:
    pulse = Pulse()
    for event in (kline(), kline(final=False), kline(source="derived"), kline(source="trades")):
        pulse.take(event)
    assert pulse.klines_closed == 1
    assert len(pulse.closed) == 1


def test_a_gap_counts_once_and_is_open_until_it_is_filled() -> None:
    pulse = Pulse()
    pulse.take(gap())
    pulse.take(gap())
    assert (pulse.gaps_seen, len(pulse.gaps_open)) == (1, 1)
    pulse.take(gap("rest"))
    assert (pulse.gaps_seen, len(pulse.gaps_open)) == (1, 0)


def test_only_a_book_that_was_whole_can_break() -> None:
    pulse, whole = Pulse(), BookSnapshot(BTC, 1, [(1.0, 1.0)], [(2.0, 1.0)], 1)
    for event in (BookStale(BTC, "no snapshot yet", 1), whole, BookStale(BTC, "gap", 2), BookStale(BTC, "gap", 3), whole):
        pulse.take(event)
    pulse.take(BookStale(BTC, "stopped", 4))
    assert pulse.resyncs == 1


async def test_the_feed_beneath_hears_everything_that_is_counted() -> None:
    pulse = Pulse()
    feed = TapFeed(MemoryFeed(), pulse.take)
    reader = feed.subscribe("me", bound=10, when_full="drop")
    feed.publish(trade(1))
    assert await reader.receive() == [trade(1)]
    assert pulse.total == 1


def node() -> SimpleNamespace:
    """As much of a node as the view looks at."""
    pair = CryptoPair(id=BTC, exchange="binance", native_symbol="BTCUSDT", base_asset="BTC", quote_asset="USDT")
    live, pulse = MemoryLiveState(), Pulse()
    events = [
        BookSnapshot(BTC, 1, [(59_999.0, 2.0)], [(60_001.0, 3.0)], 1),
        trade(1),
        kline(),
        kline(final=False),
        BookDelta(BTC, 2, 2, None, [(59_998.0, 1.0)], [], 2, 3),
        StreamStatus("binance", "binance 1", "live", "", 1),
    ]
    for event in events:
        live.apply(event)
        pulse.take(event)
    recorder = SimpleNamespace(rows=1234, backlog=5, kept=4, dropped=6, untold=1, down_since_ns=None)
    return SimpleNamespace(
        pulse=pulse,
        live=live,
        recorder=recorder,
        instruments=lambda: Instruments([pair]),
        followed=lambda: [BTC],
        connectors={"binance": None},
        api_url="http://here:1",
        ws_url="ws://here:2/ws/v1",
    )


def drawn(page: object) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(page)
    return buffer.getvalue()


async def test_the_view_shows_prices_books_bars_counts_and_addresses() -> None:
    text = drawn(view._page(node(), "a title", asyncio.get_running_loop().time() + 30, 120))  # type: ignore[arg-type]
    for part in (
        "a title",
        "s left",
        "BTC/USDT",
        "60000.5",
        "59999",
        "60001",
        "newest closed klines",
        "1,234 rows",
        "6 dropped",
        "http://here:1/docs",
    ):
        assert part in text


async def test_a_book_that_is_not_valid_is_not_shown() -> None:
    shown = node()
    shown.live.apply(BookStale(BTC, "gap", 9))
    text = drawn(view._page(shown, "", None, 120))  # type: ignore[arg-type]
    assert "resync" in text
    assert "59999" not in text


async def test_a_database_that_is_down_is_told_on_the_page_and_in_the_line() -> None:
    shown = node()
    assert "down" not in drawn(view._page(shown, "", None, 120)) + view.line(shown, None)
    shown.recorder.down_since_ns = 1_700_000_000_000 * MS  # 22:13:20 UTC
    for said in (drawn(view._page(shown, "", None, 120)), view.line(shown, None)):
        assert "database down since 22:13:20 UTC, 5 rows waiting" in said


@pytest.mark.parametrize(
    ("lag_ms", "exchanges", "said"),
    [
        (3, 1, "lag p50 3.0 ms p99 3.0 ms  "),
        (-2_000, 1, "lag p50 0.0 ms p99 0.0 ms (the exchange's clock is 2.0 s ahead)  "),
        (-40, 1, "lag p50 0.0 ms p99 0.0 ms (the exchange's clock is 40.0 ms ahead)  "),
        (-40, 2, "lag p50 0.0 ms p99 0.0 ms (an exchange's clock is 40.0 ms ahead)  "),
    ],
)
async def test_a_clock_that_is_ahead_is_told_and_no_lag_is_below_0(lag_ms: int, exchanges: int, said: str) -> None:
    shown = node()
    shown.connectors = dict.fromkeys(("binance", "okx")[:exchanges])
    shown.pulse = Pulse()
    shown.pulse.take(trade(1, lag_ms))
    assert said in view.line(shown, None)
    assert said.strip().replace(" p99", ", p99") in drawn(view._page(shown, "", None, 120))


def test_a_lag_that_is_not_known_yet_is_not_shown_as_a_number() -> None:
    shown = node()
    shown.pulse = Pulse()
    assert "lag p50 … p99 …" in view.line(shown, None)


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ({}, None),
        ({"unreadable": 1_200, "refused": 3}, "not stored: 1,200 frames that could not be read, 3 rows that the database refused; "),
        ({"disbelieved": 2, "dropped": 4}, "not stored: 2 trades that cannot be of this market, 4 rows that were dropped; "),
    ],
)
def test_a_replay_tells_what_was_lost_on_the_way(lost: dict[str, int], said: str | None, tmp_path: Path) -> None:
    summary: dict[str, object] = {"complete": True, "played": True, "stored": [], "not_followed": [], "books": [], "log": "the/log"}
    summary |= dict.fromkeys(("frames", "events", "rows_written", "gaps", "gaps_open", "book_resyncs"), 0)
    summary |= dict.fromkeys(replay.LOST, 0) | lost
    buffer = io.StringIO()
    replay._print(Console(file=buffer, width=200), summary, tmp_path)
    told = [line for line in buffer.getvalue().splitlines() if line.startswith("not stored")]
    assert told == ([] if said is None else [f"{said}why is in the/log"])


def test_a_recording_that_was_changed_in_its_middle_is_not_taken_for_played(tmp_path: Path) -> None:
    file = tmp_path / "a.zcap"
    file.write_bytes(b"first")
    os.utime(file, ns=(5, 5))
    first = replay._key([file])
    assert replay._key([file]) == first
    file.write_bytes(b"fifth")
    os.utime(file, ns=(5, 6))
    assert replay._key([file]) != first


def test_the_last_line_tells_what_is_left() -> None:
    shown = node()
    shown.settings = SimpleNamespace(spool_dir="the/spool")
    lost = "6 dropped, 1 holes that no gap tells of"
    assert view.last_line(shown) == f"stopped: 1,234 rows stored, 4 kept in the/spool for the next start, {lost}, 0 gaps (0 open)"
    shown.recorder.kept = shown.recorder.dropped = shown.recorder.untold = 0  # a hole in memory alone is not kept
    assert view.last_line(shown) == "stopped: 1,234 rows stored, 0 gaps (0 open)"


@pytest.mark.parametrize(
    ("dropped", "untold", "said"),
    [(0, 0, None), (6, 0, "6 rows were dropped, .*; the gaps tell which"), (6, 1, "6 rows .*; 1 holes could be told nowhere")],
)
def test_a_run_that_dropped_rows_fails(dropped: int, untold: int, said: str | None) -> None:
    recorder = SimpleNamespace(dropped=dropped, untold=untold)
    if said is None:
        up.check_lost(recorder)  # type: ignore[arg-type]
        return
    with pytest.raises(StoreError, match=said) as failed:
        up.check_lost(recorder)  # type: ignore[arg-type]
    assert exits.exit_code(failed.value) == exits.STORE


async def test_without_a_terminal_there_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "LINE_EVERY_S", 0.01)
    buffer = io.StringIO()
    watching = asyncio.create_task(view.watch(node(), Console(file=buffer, width=300), "", live=True, ends_at=lambda: None))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    watching.cancel()
    assert "1,234 rows" in buffer.getvalue()
    assert "BTC/USDT 60000.5" in buffer.getvalue()


async def test_on_a_terminal_there_is_a_live_page() -> None:
    buffer = io.StringIO()
    console = Console(file=buffer, width=200, height=50, force_terminal=True)
    watching = asyncio.create_task(view.watch(node(), console, "a title", live=True, ends_at=lambda: None))  # type: ignore[arg-type]
    await asyncio.sleep(0.4)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    last = buffer.getvalue().rpartition("a title")[2]
    assert "60000.5" in last
    assert "stopping …" in last


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BadInput("x"), 2),
        (NotFound("x"), 2),
        (Unreachable("x"), 3),
        (StoreFull("x"), 4),
        (PortTaken("h", 1), 5),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError(), 1),
        (GaveUp("x"), 1),
        (ExceptionGroup("two", [StoreFull("x"), ValueError()]), 4),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else str(v),
)
def test_each_kind_of_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert exits.exit_code(error) == code


def test_who_gave_up_ends_with_the_code_of_its_cause() -> None:
    error = GaveUp("ingest cannot go on")
    error.__cause__ = ExceptionGroup("in a task group", [UnknownSymbol("NOPE")])
    assert exits.exit_code(error) == 2


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert exits.report(BadInput("two\nlines"), debug=False) == 2
    assert exits.report(ExceptionGroup("g", [FileNotFoundError(2, "No such file", "x")]), debug=False) == 1
    assert exits.report(KeyboardInterrupt(), debug=False) == 130
    assert exits.report(ZeroDivisionError("by zero"), debug=False) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[:3] == ["error: two lines [bad_input]", "error: No such file: x", "interrupted"]
    assert "a fault of ours" in lines[3]


def test_sigterm_ends_a_command_like_ctrl_c() -> None:
    import os
    import signal

    cleaned = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(30)
        finally:
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt):
        run(work)
    assert cleaned == [True]


@pytest.mark.parametrize(
    ("counts", "resyncs", "told"),
    [
        ([], 0, ""),
        ([(0, 0, True)], 0, ""),
        ([(1_200, 1_200, True), (40, 40, True)], 0, "books: 1,240 of 1,240 recorded changes applied"),
        ([(290, 0, False)], 3, "books: 0 of 290 recorded changes applied: the recording has no sequence ids to follow"),
        ([(290, 0, False), (10, 10, True)], 3, "books: 10 of 300 recorded changes applied: 290 have no sequence ids to follow"),
        (
            [(117, 1, True)], 0,
            "books: 1 of 117 recorded changes applied: the others were played before the book was there; --speed 1 leaves it time",
        ),
        ([(117, 1, True)], 2, "books: 1 of 117 recorded changes applied"),
    ],
)  # fmt: skip
def test_a_replay_says_how_many_changes_of_books_were_applied(counts: list[tuple[int, int, bool]], resyncs: int, told: str) -> None:
    books = [{"recorded": recorded, "applied": applied, "has_ids": has_ids} for recorded, applied, has_ids in counts]
    assert replay.told_of_books(books, resyncs) == told


def test_changes_of_books_are_counted_by_instrument() -> None:
    pulse = Pulse()
    for number, name in enumerate([BTC, BTC, "cryptopair_binance_ethusdt"], 1):
        pulse.take(BookDelta(name, number, number, None, [], [], 1, 1))
    assert pulse.book_changes == {BTC: 2, "cryptopair_binance_ethusdt": 1}
