"""`emulator`: an exchange on this machine, until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.captures import check_captures
from zvt_crypto.cli.run import run, stop_signals
from zvt_crypto.domain.errors import BadInput, shown

END_LOOK_S = 0.5
ALONE_S = 5.0  # from the parent's end to ours, in good order; then without

if TYPE_CHECKING:
    from zvt_crypto.emulator.dialect import Dialect
    from zvt_crypto.emulator.market import Symbol
    from zvt_crypto.emulator.model import World


def run_emulator(
    mode: str,
    files: list[Path],
    *,
    exchanges: Sequence[str] = (),
    host: str,
    rest_port: int,
    ws_port: int,
    symbols: tuple[str, ...] | None,
    seed: int,
    rate: float,
    speed: float,
    position: Path | None,
    faults: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    with_parent: bool = False,
) -> int:
    """Serve. The first line on stdout is a JSON object that says where; several exchanges take every second port from the given ones on.

    Without an exchange: Binance's market, and whosever recording is replayed.
    """
    if mode == "market" and files:
        raise BadInput(f"a market plays no file: {shown(str(files[0]))} (did you mean `emulator replay`?)")
    if (tls_cert is None) != (tls_key is None):
        raise BadInput("TLS takes both a certificate and its key: --tls-cert FILE --tls-key FILE")
    spoken = list(dict.fromkeys(name.lower() for name in exchanges))
    if mode == "replay" and len(spoken) > 1:
        raise BadInput(f"a capture is of one exchange, not of {', '.join(spoken)}")
    if mode == "replay":
        world = _replay(files, spoken[0] if spoken else None, speed, position)
        made = {world.capture.exchange: _dialect(world.capture.exchange)(world)}
    else:
        made = _markets(spoken or ["binance"], symbols, seed, rate, time.time_ns())
    if faults is not None:
        _plan(faults, list(made.values()), time.time_ns())
    ports = ports_of(rest_port, ws_port, len(made))
    tls = (tls_cert, tls_key) if tls_cert and tls_key else None
    run(lambda: _serve(made, host, ports, tls, with_parent))
    return exits.OK


def ports_of(rest_port: int, ws_port: int, count: int) -> list[tuple[int, int]]:
    """(REST, WebSocket) of each of several exchanges: every second port from the given ones on; 0 stays 0, a free one."""
    steps = range(0, 2 * count, 2)
    return [(rest_port and rest_port + step, ws_port and ws_port + step) for step in steps]


def _plan(file: Path, dialects: Sequence[Dialect], start_ns: int) -> None:
    from zvt_crypto.emulator.script import read_script, set_up_all

    if not file.is_file():
        raise BadInput(f"script of faults {shown(str(file))} does not exist")
    try:
        text = file.read_text("utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"script of faults {shown(str(file))} is not text in UTF-8") from None
    for dialect in dialects:
        dialect.faults.on_failure = _skipped
    set_up_all(read_script(text), dialects, start_ns)


def _skipped(why: str) -> None:
    print(f"skipped: {why}", file=sys.stderr, flush=True)


def _dialect(exchange: str) -> Callable[[World], Dialect]:
    from zvt_crypto.emulator.dialects import DIALECTS

    if exchange not in DIALECTS:
        raise BadInput(f"the emulator does not speak like {shown(exchange)}; it speaks like {', '.join(DIALECTS)}")
    return DIALECTS[exchange]


def _markets(exchanges: Sequence[str], symbols: tuple[str, ...] | None, seed: int, rate: float, start_ns: int) -> dict[str, Dialect]:
    """Each speaks of a market of its own, that is the same one: same seed, same start, same trades."""
    from zvt_crypto.emulator.market import MarketWorld

    speakers = {name: _dialect(name) for name in exchanges}
    listing = listing_of(symbols)
    worlds = {name: MarketWorld(seed=seed, start_ns=start_ns, symbols=listing, events_per_s=rate) for name in speakers}
    return {name: speaks(worlds[name]) for name, speaks in speakers.items()}


def listing_of(symbols: tuple[str, ...] | None) -> tuple[Symbol, ...]:
    """What a market lists: the ready-made symbols, those named, or as many as a single number says. Raises BadInput."""
    from zvt_crypto.emulator.market import READY_SYMBOLS
    from zvt_crypto.emulator.roster import long_listing

    if symbols is None:
        return READY_SYMBOLS
    if len(symbols) == 1 and symbols[0].isascii() and symbols[0].isdigit():
        return long_listing(int(symbols[0][:9]))
    return tuple(_symbol(name) for name in symbols)


def _symbol(name: str) -> Symbol:
    """One of the ready-made symbols: BTCUSDT (spot), BTC/USDT:USDT (a perpetual) or BTC/USD:BTC (an inverse one)."""
    from zvt_crypto.emulator.market import READY_SYMBOLS

    settled = {s: s.base if s.contract else s.quote for s in READY_SYMBOLS}
    known = {s.name if s.market == "spot" else f"{s.base}/{s.quote}:{settled[s]}": s for s in READY_SYMBOLS}
    if name.upper() not in known:
        raise BadInput(f"the synthetic market has no {shown(name)}; it has {', '.join(known)}")
    return known[name.upper()]


def _replay(files: Sequence[Path], exchange: str | None, speed: float, position: Path | None) -> Any:
    from zvt_crypto.emulator.capture import read_capture
    from zvt_crypto.emulator.replay import ReplayWorld

    if not files:
        raise BadInput("which capture? emulator replay FILE …")
    check_captures(files, exchange)
    if position is not None:
        position.parent.mkdir(parents=True, exist_ok=True)
    return ReplayWorld(read_capture(list(files)), speed=speed or None, state_path=position)


async def _serve(
    dialects: dict[str, Dialect], host: str, ports: list[tuple[int, int]], tls: tuple[Path, Path] | None, with_parent: bool
) -> None:
    from zvt_crypto.emulator.server import EmulatorServer

    servers = {name: EmulatorServer(dialect) for name, dialect in dialects.items()}
    async with stop_signals() as asked:
        places = {}
        telling = asyncio.ensure_future(tell_end(dialects[next(iter(dialects))].world, _said)) if not with_parent else None
        try:
            for (name, server), (rest_port, ws_port) in zip(servers.items(), ports, strict=True):
                try:
                    rest_url, ws_url = await server.start(host, rest_port=rest_port, ws_port=ws_port, tls=tls)
                except OSError as error:
                    from zvt_crypto.api.server import listening_error  # uvicorn is worth importing only for this

                    raise listening_error(host, rest_port, error) from error
                places[name] = {"rest_url": rest_url, "ws_url": ws_url}
            first = next(iter(dialects))
            told = {**places[first], "exchanges": places, **_told(dialects[first].world)}
            print(msgspec.json.encode(told).decode(), flush=True)
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(asked.wait())]
            waits += [asyncio.ensure_future(server.failed()) for server in servers.values()]
            if with_parent:
                waits.append(asyncio.ensure_future(_parent_gone()))
            done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in rest:
                wait.cancel()
            for wait in done:
                wait.result()
        finally:
            if telling is not None:
                telling.cancel()
            for server in servers.values():
                await server.stop()


async def tell_end(world: Any, tell: Callable[[str], None]) -> None:
    """Of a recording: say once that it is over. Whoever follows it goes on asking, as of an exchange that fell silent."""
    if world.mode != "replay":
        return
    while not world.done:  # noqa: ASYNC110 - a world is pure, and rings for nobody
        await asyncio.sleep(END_LOOK_S)
    tell("the recording is over: its clock stands still, and who follows it hears nothing more and goes on asking")


def _said(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _told(world: Any) -> dict[str, Any]:
    """What a parent wants to know of a capture."""
    if world.mode != "replay":
        return {}
    from zvt_crypto.emulator.subscriptions import books_of, subscriptions_of

    capture = world.capture
    channels = [{"market": c.market, "symbol": c.symbol, "name": c.name} for c in world.channels()]
    holds = [one._asdict() for one in subscriptions_of(capture)]
    told = {"exchange": capture.exchange, "channels": channels, "holds": holds, "books": [one._asdict() for one in books_of(capture)]}
    return told | {"first_ns": capture.first_ns, "frames": len(capture.frames), "damage": capture.damage}


async def _parent_gone() -> None:
    """Done when stdin, a pipe that our parent holds, is closed: the kernel does that even for kill -9.

    A thread looks, since the loop may be busy for ever: then it ends the process itself, ALONE_S later.
    """
    gone, loop, pipe = asyncio.Event(), asyncio.get_running_loop(), sys.stdin.fileno()
    os.set_blocking(pipe, True)

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(pipe, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            loop.call_soon_threadsafe(gone.set)
        time.sleep(ALONE_S)
        os._exit(exits.FAILURE)

    threading.Thread(target=watch, name="parent", daemon=True).start()
    await gone.wait()
