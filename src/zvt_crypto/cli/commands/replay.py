"""`replay`: a capture through the emulator, real sockets and the whole platform, into a database of its own; goes on where it was cut."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.captures import check_captures
from zvt_crypto.cli.child import EmulatorPlace, EmulatorProcess, Held, emulator_process
from zvt_crypto.cli.commands.up import log_file, make_console, open_log
from zvt_crypto.cli.out import print_json
from zvt_crypto.cli.run import run, stop_signals
from zvt_crypto.cli.settings import Database, Settings, Venue
from zvt_crypto.domain.errors import BadInput, UnknownSymbol, ZvtCryptoError
from zvt_crypto.domain.time import INTERVALS, NS_PER_S, parse_interval, to_rfc3339
from zvt_crypto.ports import ExchangeConnector, Subscription

if TYPE_CHECKING:
    from rich.console import Console

    from zvt_crypto.cli.build import Node

POLL_S = 0.25
SETTLE_S = 1.0  # how long nothing must be under way after the last frame: a hole that is being filled is under way
SETTLE_MOST_S = 60.0
SILENT_S = 30.0  # an emulator that does not tell its position for so long will not go on
# What of a recording did not get into the database.
LOST = {
    "unreadable": "frames that could not be read",
    "disbelieved": "trades that cannot be of this market",
    "refused": "rows that the database refused",
    "dropped": "rows that were dropped",
}
LEAD_NS = 60 * NS_PER_S  # an exchange's time stamp may be older than our receipt of it


def run_replay(
    settings: Settings, files: Sequence[Path], *, speed: float, symbols: tuple[str, ...] | None, serve: bool, again: bool, as_json: bool
) -> int:
    """Play to the end. INTERRUPTED when it was told to stop before; FAILURE when the recording has trades and none is stored."""
    check_captures(files)
    if speed < 0:
        raise BadInput(f"speed {speed:g} is below 0")
    folder = settings.data_dir / "replay"
    position = folder / f"position-{_key(files)}.json"
    if again:
        position.unlink(missing_ok=True)
    is_resumed = position.exists()
    arguments = ["replay", *(str(file.absolute()) for file in files), "--speed", str(speed), "--position", str(position)]

    async def go() -> int:
        console = make_console()
        folder.mkdir(parents=True, exist_ok=True)
        async with emulator_process(arguments) as (place, process):
            ours = _own_settings(settings, folder, place)
            with open_log(ours, quiet=True) as observer:
                summary = await _play(ours, observer, place, process, symbols, serve, None if as_json else console, is_resumed=is_resumed)
        if as_json:
            print_json(summary)
        else:
            _print(console, summary, folder)
        if not summary["complete"]:
            return exits.INTERRUPTED
        if missing := _without_trades(summary):
            position.unlink(missing_ok=True)  # so that the same command plays it again
            raise ZvtCryptoError(f"the recording has trades of {', '.join(missing)}, and none is stored: {folder} is not what was recorded")
        return exits.OK

    return run(go)


async def _play(
    settings: Settings,
    observer: Any,
    place: EmulatorPlace,
    process: EmulatorProcess,
    symbols: tuple[str, ...] | None,
    serve: bool,
    console: Console | None,
    *,
    is_resumed: bool,
) -> dict[str, Any]:
    from zvt_crypto.cli.build import open_node
    from zvt_crypto.cli.view import addresses
    from zvt_crypto.services.options import IngestOptions
    from zvt_crypto.services.platform import PlatformOptions

    first_ns = max(0, (place.first_ns or 0) - LEAD_NS)
    options = PlatformOptions(ingest=IngestOptions(trades_since_ns=first_ns, of_recording="midway" if is_resumed else "begin"))
    complete = False
    async with (
        stop_signals() as asked,
        open_node(settings, observer, serve=serve, subscriptions=lambda c: plan_replay(c, place, symbols), options=options) as node,
    ):
        if serve and console is not None:
            console.print("\n".join(addresses(node)), markup=False, soft_wrap=True)

        async def until() -> None:
            nonlocal complete
            await _first_of(asked.wait, lambda: _played(place, process, node, console))
            complete = not asked.is_set()

        await node.run(until())
        return await _summary(node, place, complete)


def plan_replay(connector: ExchangeConnector, place: EmulatorPlace, symbols: tuple[str, ...] | None) -> list[Subscription]:
    """Every channel that the capture holds and we follow, of all its symbols or of those that were named. Raises UnknownSymbol."""
    table = connector.instruments
    wanted = None if symbols is None else {table.resolve(name, connector.exchange).id for name in symbols}
    made: dict[Subscription, None] = {}
    for held in place.holds:
        found = next((i for kind in held.kinds if (i := table.find_native(connector.exchange, kind, held.native))), None)
        if found is not None and (wanted is None or found.id in wanted):
            made[Subscription(found.id, held.channel, parse_interval(held.interval) if held.interval else None)] = None
    if not made:
        raise UnknownSymbol(", ".join(symbols or ("(any)",)), sorted({held.native for held in place.holds})[:8])
    return list(made)


async def _played(place: EmulatorPlace, process: EmulatorProcess, node: Node, console: Console | None) -> None:
    """Until every frame has been played and everything of it is stored. Raises ZvtCryptoError when the emulator ends or falls silent."""
    loop = asyncio.get_running_loop()
    async with ask_session() as session:
        # An emulator that died first is told below.
        await _first_of(node.platform.ready, process.wait, lambda: _silent(session, place, process))
        said, answered_s = 0, loop.time()
        while True:
            if process.returncode is not None:
                last = await process.all_said()
                raise ZvtCryptoError(
                    f"the emulator ended with {process.returncode}{f' ({last})' if last else ''}; the same command goes on from here"
                )
            if status := await _status(session, place.rest_url):
                answered_s = loop.time()
            elif loop.time() - answered_s > SILENT_S:
                raise _silence(process)
            if status.get("done"):
                break
            tenth = 10 * int(status.get("frames", 0)) // max(1, place.frames)
            if console is not None and tenth > said:
                said = tenth
                console.print(f"{10 * tenth:>3} %  {node.recorder.rows:,} rows", markup=False)
            await asyncio.sleep(POLL_S)
    for damage in status.get("damage", ()):
        if console is not None:
            console.print(f"the recording: {damage}", markup=False, soft_wrap=True)
    await _settled(node)
    await node.platform.bars.catch_up(node.followed())
    await node.platform.drained()


def ask_session() -> Any:
    """What the emulator's status is asked with."""
    import aiohttp

    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))


async def _silent(session: Any, place: EmulatorPlace, process: EmulatorProcess) -> None:
    """Raises ZvtCryptoError once the emulator has not told its status for SILENT_S; returns never."""
    loop = asyncio.get_running_loop()
    answered_s = loop.time()
    while loop.time() - answered_s <= SILENT_S:
        if await _status(session, place.rest_url):
            answered_s = loop.time()
        await asyncio.sleep(POLL_S)
    raise _silence(process)


def _silence(process: EmulatorProcess) -> ZvtCryptoError:
    last = f" (it said last: {said})" if (said := process.last_line()) else ""
    return ZvtCryptoError(f"the emulator has not answered for {SILENT_S:g} s{last}; the same command goes on from here")


async def _settled(node: Node) -> None:
    """Nothing waits to be looked at or stored, and no event has come for a while."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + SETTLE_MOST_S
    seen, since = node.pulse.total, loop.time()
    while loop.time() < ends:
        await node.platform.drained()
        await asyncio.sleep(POLL_S / 2)
        if node.pulse.total != seen:
            seen, since = node.pulse.total, loop.time()
        elif loop.time() - since >= SETTLE_S:
            return


async def _status(session: Any, rest_url: str) -> dict[str, Any]:
    import aiohttp

    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.get(f"{rest_url}/emulator/status") as answer:
            found: dict[str, Any] = await answer.json()
            return found
    return {}


async def _summary(node: Node, place: EmulatorPlace, complete: bool) -> dict[str, Any]:
    stored = []
    traded = {s.instrument for ingest in node.platform.ingests for s in ingest.subscriptions if s.channel in ("trade", "agg")}
    gaps = await node.store.facts.read_gaps(open_only=True)
    for entity in node.followed():
        trades = await node.store.trades.read(entity)
        klines = {str(i): len(rows) for i in INTERVALS if (rows := await node.store.klines.read(entity, i))}
        span = [to_rfc3339(trades[0].event_ns), to_rfc3339(trades[-1].event_ns)] if trades else []
        stored.append({"entity_id": entity, "trades": len(trades), "klines": klines, "span": span, "has_trades": entity in traded})
    pulse = node.pulse
    return {
        "complete": complete, "played": pulse.total > pulse.events["StreamStatus"],
        "frames": place.frames, "events": pulse.total, "rows_written": node.recorder.rows,
        "not_followed": _not_followed(node, place), "gaps": pulse.gaps_seen,
        "gaps_open": sum(gap.instrument in node.followed() for gap in gaps), "book_resyncs": pulse.resyncs,
        "unreadable": _counted(node, "venue_malformed"), "disbelieved": _counted(node, "trades_disbelieved"),
        "books": _books(node, place), "damage": place.damage,
        "refused": node.recorder.wrong, "dropped": node.recorder.dropped, "log": str(log_file(node.settings)), "stored": stored,
    }  # fmt: skip


def _books(node: Node, place: EmulatorPlace) -> list[dict[str, Any]]:
    """Of each followed book: how often the recording changes it, and how many of these changes were applied to a valid one."""
    made = []
    followed = {s.instrument for ingest in node.platform.ingests for s in ingest.subscriptions if s.channel == "depth"}
    for held in place.books:
        found = next((i for kind in held.kinds if (i := node.instruments().find_native(place.exchange, kind, held.native))), None)
        if found is not None and found.id in followed:
            applied = node.pulse.book_changes[found.id]
            made.append({"entity_id": found.id, "recorded": held.changes, "applied": applied, "has_ids": held.is_chained})
    return made


def _counted(node: Node, name: str) -> int:
    """What the parts have counted under a name, over all labels."""
    from zvt_crypto.telemetry.metrics import metric_name

    total = f"{metric_name(name)}_total"
    return int(sum(one.value for family in node.observer.registry.collect() for one in family.samples if one.name == total))


def _not_followed(node: Node, place: EmulatorPlace) -> list[str]:
    """Symbols of the recording that no instrument is known for."""
    table, exchange = node.instruments(), place.exchange
    known = {held.native for held in place.holds if any(table.find_native(exchange, kind, held.native) for kind in held.kinds)}
    return sorted({held.native for held in place.holds} - known)


def _without_trades(summary: dict[str, Any]) -> list[str]:
    return [row["entity_id"] for row in summary["stored"] if row["has_trades"] and not row["trades"]]


def _print(console: Console, summary: dict[str, Any], folder: Path) -> None:
    word = "replayed" if summary["complete"] else "stopped midway (the same command goes on from here)"
    console.print(
        f"{word}: {summary['frames']:,} frames, {summary['events']:,} events, {summary['rows_written']:,} rows written, "
        f"{summary['gaps']} gaps ({summary['gaps_open']} open), {summary['book_resyncs']} book resyncs",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    if summary["played"] and (told := told_of_books(summary["books"], summary["book_resyncs"])):
        console.print(told, markup=False, soft_wrap=True)
    for row in summary["stored"]:
        klines = ", ".join(f"{count} {interval}" for interval, count in row["klines"].items()) or "no"
        console.print(f"  {row['entity_id']}: {row['trades']:,} trades, {klines} klines", markup=False, soft_wrap=True)
    if summary["not_followed"]:
        console.print(f"not stored, for no instrument is known: {', '.join(summary['not_followed'])}", markup=False, soft_wrap=True)
    if summary["complete"] and not summary["played"]:
        console.print("nothing was new: it had been played before; --again plays it from its first frame", markup=False, soft_wrap=True)
    if lost := _lost(summary):
        console.print(f"not stored: {lost}; why is in {summary['log']}", markup=False, soft_wrap=True)
    named = summary["stored"][0]["entity_id"] if summary["stored"] else "SYMBOL"
    console.print(f"to look at it: zvt-crypto kdata {named} --data-dir {folder}", markup=False, soft_wrap=True)


def told_of_books(books: list[dict[str, Any]], resyncs: int) -> str:
    """How many changes of books were applied: no break of a book that nobody followed is no proof. "" where none is recorded."""
    recorded, applied = (sum(book[name] for book in books) for name in ("recorded", "applied"))
    if not recorded:
        return ""
    nameless = sum(book["recorded"] for book in books if not book["has_ids"])
    why = ""
    if nameless:
        why = f": {'the recording has' if nameless == recorded else f'{nameless:,} have'} no sequence ids to follow"
    elif 2 * applied < recorded and not resyncs:
        why = ": the others were played before the book was there; --speed 1 leaves it time"
    return f"books: {applied:,} of {recorded:,} recorded changes applied{why}"


def _lost(summary: dict[str, Any]) -> str:
    """What was lost on the way, empty for nothing."""
    return ", ".join(f"{summary[name]:,} {said}" for name, said in LOST.items() if summary[name])


def _own_settings(settings: Settings, folder: Path, place: EmulatorPlace) -> Settings:
    name = place.exchange
    # Made anew, so that nothing that is set about the real exchange counts here.
    venue: Venue = type(getattr(settings, name))(rest=place.rest_url, ws=place.ws_url)
    spot = [held for held in place.holds if "pair" in held.kinds]
    contracts = [held for held in place.holds if "pair" not in held.kinds]
    markets = tuple(market for market in getattr(venue, "markets", ()) if (spot if market == "spot" else contracts))
    chosen: dict[str, Any] = {"markets": markets}
    if name == "binance":
        chosen |= {"trades": _stream(spot), "usdm_trades": _stream(contracts)}
    return msgspec.structs.replace(
        settings,
        data_dir=folder,
        database=Database(),
        ingest=msgspec.structs.replace(settings.ingest, exchanges=(name,)),
        **{name: msgspec.structs.replace(venue, **chosen)},
    )


def _stream(holds: list[Held]) -> Literal["trade", "agg"]:
    """Which id space feeds bars: single trades where the capture has them."""
    return "trade" if any(held.channel == "trade" for held in holds) else "agg"


def _key(files: Sequence[Path]) -> str:
    """Of these files as they are now: one that was written anew is played anew."""
    told = [(file.absolute(), file.stat()) for file in files]
    named = "\n".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in told)
    return hashlib.sha256(named.encode()).hexdigest()[:12]


async def _first_of(*waits: Callable[[], Awaitable[Any]]) -> Any:
    tasks = [asyncio.ensure_future(wait()) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
