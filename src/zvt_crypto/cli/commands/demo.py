"""`demo`: a whole exchange, database and platform on this machine, in a folder of their own, with checks at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.child import EmulatorPlace, emulator_process
from zvt_crypto.cli.commands.up import check_lost, check_seconds, live_session, make_console, open_log
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Api, Binance, Bybit, Coinbase, Database, Okx, Settings, Venue, Ws
from zvt_crypto.domain.errors import StoreError, ZvtCryptoError
from zvt_crypto.domain.instrument import ccxt_symbol, kind_of
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, Interval

if TYPE_CHECKING:
    from rich.console import Console

    from zvt_crypto.cli.build import Node

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BTC/USDT:USDT")
# What an exchange lists instead: it trades against the dollar.
NAMES_THERE = {"coinbase": {"BTCUSDT": "BTC/USD", "ETHUSDT": "ETH/USD"}}
RATE = 12.0  # orders a second for each symbol of each exchange
HISTORY = {Interval.MIN_1: 3 * 60 * NS_PER_MINUTE, Interval.HOUR_1: 7 * NS_PER_DAY, Interval.DAY_1: 30 * NS_PER_DAY}
OLD_S = 3600.0  # a folder of a demo that died is removed after so long


def run_demo(settings: Settings, *, seconds: float | None, symbols: tuple[str, ...] | None, seed: int) -> int:
    """Until Ctrl-C, or until the seconds have passed: then a summary, and FAILURE when a check failed. Raises StoreError where rows were
    dropped."""
    check_seconds(seconds)

    async def go() -> int:
        console = make_console()
        checks: list[tuple[str, bool, str]] = []
        with _own_folder(settings.data_dir) as folder:
            console.print("starting exchange, database and platform …", style="dim")
            chosen, spoken = symbols or SYMBOLS, _spoken()
            market = ["market", "--seed", str(seed), "--rate", str(RATE), "--symbols", ",".join(chosen), "--exchange", ",".join(spoken)]
            async with emulator_process(market) as (place, _):
                ours = _own_settings(settings, folder, place, chosen)
                with open_log(ours, quiet=True) as observer:

                    async def before_end(node: Node) -> None:
                        checks.extend(await _ask(node))

                    async def after_end(node: Node) -> None:
                        checks.extend(await end(node, console, checks))

                    title = f"zvt-crypto demo: {len(spoken)} synthetic exchanges ({', '.join(spoken)}), all in {folder}"
                    await live_session(
                        ours,
                        observer,
                        console,
                        title,
                        seconds=seconds,
                        show=console.is_terminal,
                        movable=_movable(settings),
                        when_ready=_fetch_history,
                        before_end=before_end,
                        after_end=after_end,
                    )
        return exits.OK if all(good for _, good, _ in checks) else exits.FAILURE

    return run(go)


@contextlib.contextmanager
def _own_folder(data_dir: Path) -> Iterator[Path]:
    """A new folder under <data dir>/demo, removed at the end; so are those that demos left that were killed."""
    demos = data_dir / "demo"
    demos.mkdir(parents=True, exist_ok=True)
    for old in demos.iterdir():
        if time.time() - old.stat().st_mtime > OLD_S and not _is_alive(old.name):
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=demos))
    folder.chmod(0o755)  # PostgreSQL may run as another user than root; the database's own folder is closed
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(name: str) -> bool:
    pid = name.partition("-")[0]
    return pid.isdigit() and Path(f"/proc/{pid}").exists()


def _spoken() -> list[str]:
    """The exchanges that we both speak to and speak like."""
    from zvt_crypto.emulator.dialects import DIALECTS
    from zvt_crypto.venues import VENUES

    return [name for name in VENUES if name in DIALECTS]


def _own_settings(settings: Settings, folder: Path, place: EmulatorPlace, symbols: tuple[str, ...]) -> Settings:
    venues: dict[str, Venue] = {"binance": Binance(), "bybit": Bybit(), "okx": Okx(), "coinbase": Coinbase()}
    places = {
        name: msgspec.structs.replace(venues[name], rest=there["rest_url"], ws=there["ws_url"]) for name, there in place.exchanges.items()
    }
    there = [NAMES_THERE[name][symbol] for name in places if name in NAMES_THERE for symbol in symbols if symbol in NAMES_THERE[name]]
    ingest = msgspec.structs.replace(settings.ingest, exchanges=tuple(places), symbols=(*symbols, *there))
    return msgspec.structs.replace(settings, data_dir=folder, database=Database(), ingest=ingest, **places)


def _movable(settings: Settings) -> list[str]:
    """A usual port that is taken is no reason to show nothing: then any free one. A port that somebody chose stays."""
    usual = {"api": (settings.api.port, Api().port), "ws": (settings.ws.port, Ws().port)}
    return [name for name, (chosen, default) in usual.items() if chosen == default]


async def _fetch_history(node: Node) -> None:
    """Something to look at from the first minute on. A demo without it is still one: what fails is noted."""
    from zvt_crypto.services.backfill import Backfill

    now_ns = node.clock.now_ns()
    for entity in node.followed():
        instrument = node.instruments().get(entity)
        if instrument is None:
            continue
        backfill = Backfill(node.connectors[instrument.exchange], node.store, node.clock, node.observer)
        for interval, reach_ns in HISTORY.items():
            try:
                await backfill.klines(entity, interval, since=now_ns - reach_ns)
            except ZvtCryptoError as error:
                node.observer.note("warning", "no_history", instrument=entity, interval=str(interval), reason=str(error))


async def _ask(node: Node) -> list[tuple[str, bool, str]]:
    """Whether the API answers, asked as anybody would ask it."""
    import aiohttp

    entity = next(iter(node.followed()), "cryptopair_binance_btcusdt")
    exchanges = {instrument.exchange: instrument.id for name in node.followed() if (instrument := node.instruments().get(name)) is not None}
    api = f"{node.api_url}/api/v1/crypto"
    asked = {
        "ready": f"{node.api_url}/ready",
        "exchanges": f"{api}/exchanges",
        "pairs": f"{api}/pairs?exchange=binance",
        **{f"{name} kdata": f"{api}/kdata?symbol={one}&interval=1m&limit=10" for name, one in exchanges.items()},
        **{f"{name} ticker": f"{api}/ticker?symbol={one}" for name, one in exchanges.items()},
        **{f"{name} orderbook": f"{api}/orderbook?symbol={one}&depth=5" for name, one in exchanges.items()},
        "assets search": f"{api}/assets/search?q=bitcoin&exchange=binance",
    }
    failed = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        for name, url in asked.items():
            try:
                async with session.get(url) as answer:
                    if answer.status != 200:
                        failed.append(f"{name}: {answer.status} {(await answer.text())[:120]}")
            except (aiohttp.ClientError, TimeoutError) as error:
                failed.append(f"{name}: {error}")
        spoke, said = await _listen(session, node.ws_url, entity)
    return [("REST answered", not failed, "; ".join(failed) or f"{len(asked)} endpoints"), ("WebSocket spoke", spoke, said)]


async def _listen(session: object, url: str, entity: str) -> tuple[bool, str]:
    import aiohttp

    assert isinstance(session, aiohttp.ClientSession)
    try:
        async with session.ws_connect(url) as ws:
            await ws.send_json({"id": 1, "method": "subscribe", "params": {"channel": "depth", "symbol": entity, "depth": 5}})
            first = await ws.receive_json(timeout=5)
            second = await ws.receive_json(timeout=5)
    except (aiohttp.ClientError, TimeoutError, TypeError, ValueError) as error:
        return False, f"{type(error).__name__}: {error}"
    return "result" in first and second.get("channel") == "depth", f"acknowledged, then a {second.get('type')} of the book"


async def end(node: Node, console: Console, before: list[tuple[str, bool, str]]) -> list[tuple[str, bool, str]]:
    """The last checks, and the summary of all. Raises StoreError where rows were dropped: nobody shall take a part for the whole."""
    try:
        checks = await _look(node)
    except StoreError as error:
        checks = [("the database answers", False, str(error))]
    recorder = node.recorder
    is_whole = not (recorder.dropped or recorder.untold or recorder.wrong)
    checks.append(("nothing dropped", is_whole, f"{recorder.dropped} dropped, {recorder.wrong} refused, {recorder.untold} holes untold"))
    checks.append(("no gap left open", not node.pulse.gaps_open, f"{node.pulse.gaps_seen} seen"))
    _print_summary(console, node, [*before, *checks])
    check_lost(recorder)
    return checks


async def _look(node: Node) -> list[tuple[str, bool, str]]:
    """What is stored, now that nothing is under way: trades without holes, minutes equal to their own trades."""
    await node.store.ping()
    holes, dense, trades, minutes, differ = [], 0, 0, 0, []
    for instrument in (node.instruments().get(name) for name in node.followed()):
        if instrument is None:
            continue
        stored = await node.store.trades.read(instrument.id)
        trades += len(stored)
        if node.connectors[instrument.exchange].trade_continuity(instrument.id) == "dense":
            dense += len(stored)
            numbers = sorted(int(trade.trade_id) for trade in stored)
            if numbers and numbers != list(range(numbers[0], numbers[-1] + 1)):
                holes.append(f"{instrument.exchange} {kind_of(instrument)} {ccxt_symbol(instrument)}")
        for kline in await node.store.klines.read(instrument.id, Interval.MIN_1):
            volume = sum(t.quantity for t in stored if kline.open_ns <= t.event_ns < kline.open_ns + 60_000_000_000)
            if stored and kline.open_ns >= stored[0].event_ns:
                minutes += 1
                differ += (
                    [f"{instrument.exchange} {ccxt_symbol(instrument)}"] if abs(volume - kline.volume) > 1e-6 * max(1.0, volume) else []
                )
    checks = [
        ("trades without holes", not holes and trades > 0, ", ".join(holes) or f"{trades:,} trades, the ids of {dense:,} tell: unbroken")
    ]
    if minutes:
        checks.append(("klines equal their trades", not differ, ", ".join(differ) or f"{minutes} whole minutes"))
    return checks


def _print_summary(console: Console, node: Node, checks: list[tuple[str, bool, str]]) -> None:
    pulse = node.pulse
    console.print(
        f"\n{node.recorder.rows:,} rows recorded from {pulse.total:,} events, {pulse.klines_closed} klines closed, "
        f"{pulse.gaps_seen} gaps, {pulse.resyncs} book resyncs"
    )
    for name, good, said in checks:
        console.print(f"[{'green' if good else 'red'}]{'ok  ' if good else 'FAIL'}[/] {name}: ", end="")
        console.print(said, markup=False, soft_wrap=True)
