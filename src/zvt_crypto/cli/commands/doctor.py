"""`doctor`: looks at everything that the platform stands on; each line says ok, warn or fail, and what to do."""

from __future__ import annotations

import asyncio
import errno
import re
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from zvt_crypto.api.server import listening_error
from zvt_crypto.cli import exits
from zvt_crypto.cli.commands.processes import leases_finding, redis_finding
from zvt_crypto.cli.each import check_exchanges
from zvt_crypto.cli.finding import Finding
from zvt_crypto.cli.out import print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.domain.errors import GeoBlocked, Unsupported, VenueError, ZvtCryptoError
from zvt_crypto.telemetry.redact import redact_url

GB = 1_000_000_000
OLDEST_POSTGRES = 14  # 13 is out of its makers' support
CLOCK_WARN_MS, CLOCK_FAIL_MS = 500, 5_000
VENUE_TIMEOUT_S = 15.0
BLOCKED = {
    "binance spot": "spot market data still works through Binance's public data host; other venues may serve you",
    "binance usdm": "USD-M has no public data host; other venues may serve you",
}


def run_doctor(settings: Settings, *, offline: bool, as_json: bool) -> int:
    """Print the findings; FAILURE when one of them failed. Raises UnknownExchange before anything is looked at."""
    exchanges = check_exchanges(settings.ingest.exchanges)
    findings = run(lambda: _examine(settings, exchanges, offline, None if as_json else _print))
    if as_json:
        print_json({"findings": findings, "ok": all(f.state != "fail" for f in findings)})
    return exits.FAILURE if any(f.state == "fail" for f in findings) else exits.OK


async def _examine(settings: Settings, exchanges: Sequence[str], offline: bool, tell: object) -> list[Finding]:
    findings = []
    async for finding in _findings(settings, exchanges, offline):
        findings.append(finding)
        if callable(tell):
            tell(finding)
    return findings


async def _findings(settings: Settings, exchanges: Sequence[str], offline: bool) -> AsyncIterator[Finding]:
    yield Finding("python", "ok", f"{sys.version.split()[0]} at {sys.executable}")
    yield _disk(settings.data_dir)
    yield await _database(settings)
    if settings.live.redis is not None:
        yield await redis_finding(settings)
        yield await leases_finding(settings)
    for name, endpoint in (("api", settings.api), ("ws", settings.ws)):
        yield _port(name, endpoint.host, endpoint.port)
    if offline:
        yield Finding("exchanges", "warn", "left out (--offline)", "the clock was not compared either")
        return
    for exchange in exchanges:
        if exchange == "binance":  # each of its markets has hosts of its own
            for market in settings.binance.markets:
                only = msgspec.structs.replace(settings, binance=msgspec.structs.replace(settings.binance, markets=(market,)))
                yield await _venue(only, exchange, f"binance {market}")
        else:
            yield await _venue(settings, exchange, exchange)


def _disk(folder: Path) -> Finding:
    place = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    said = f"{free / GB:.1f} GB free at {place}"
    if free < GB:
        return Finding("disk", "fail", said, "free some room, or choose another folder: --data-dir, or data_dir in the settings")
    return Finding("disk", "warn" if free < 10 * GB else "ok", said, "a busy pair fills about 1 GB a week" if free < 10 * GB else "")


async def _database(settings: Settings) -> Finding:
    from zvt_crypto.cli.commands.database import read_status

    where = redact_url(settings.database.url) if settings.database.url else f"embedded, {settings.postgres_dir}"
    began = time.monotonic()
    try:
        status = await read_status(settings)
    except ZvtCryptoError as error:
        hint = (
            "is the server up, the address right, the password set? zvt-crypto show-config"
            if settings.database.url
            else "see the log there"
        )
        return Finding("database", "fail", str(error), hint)
    if is_too_old(status["server"]):
        said = f"PostgreSQL {status['server']}, {where}: this build needs {OLDEST_POSTGRES} or newer"
        return Finding("database", "fail", said, "upgrade the server, or leave database.url empty for the embedded one")
    took_ms = (time.monotonic() - began) * 1_000
    said = (
        f"PostgreSQL {status['server']}, {where}, schema {status['revision'] or 'none'}, {status['bytes'] / 1e6:.0f} MB, {took_ms:.0f} ms"
    )
    if not status["current"]:
        hint = "the next command that needs it makes it; or: zvt-crypto db upgrade"
        return Finding("database", "warn" if status["revision"] else "ok", f"{said}; this build has {status['newest']}", hint)
    return Finding("database", "ok", said)


def is_too_old(server: str) -> bool:
    """Of `server_version`, for example `14.20 (Debian 14.20-1)` or `18beta1`."""
    major = re.match(r"[0-9]+", server)
    return major is None or int(major[0]) < OLDEST_POSTGRES


def _port(name: str, host: str, port: int) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                hint = f"another address or port: {name}.host and {name}.port in the settings"
                return Finding(f"{name} port", "fail", str(listening_error(host, port, error)), hint)
            hint = f"does the platform run already? otherwise another one: {name}.port in the settings, or --{name}-port"
            return Finding(f"{name} port", "warn", f"{host}:{port}: {error.strerror}", hint)
    return Finding(f"{name} port", "ok", f"{host}:{port} is free")


async def _venue(settings: Settings, exchange: str, name: str) -> Finding:
    from zvt_crypto.cli.connect import Silent, open_connector

    class Quiet(Silent):
        def note(self, level: str, event: str, **fields: object) -> None: ...

    try:
        async with asyncio.timeout(VENUE_TIMEOUT_S), open_connector(settings, exchange, observer=Quiet()) as connector:
            before = time.time_ns()
            venue_ns = await connector.fetch_server_time()
            after = time.time_ns()
    except GeoBlocked as error:
        works = BLOCKED.get(name, "other venues may serve you")
        return Finding(name, "warn", f"does not serve this region: {error}", f"retrying cannot help; {works}")
    except TimeoutError:
        return Finding(name, "fail", f"no answer within {VENUE_TIMEOUT_S:g} s", "is there a network? `zvt-crypto demo` needs none")
    except Unsupported as error:
        return Finding(name, "warn", str(error), "the clock was not compared")
    except VenueError as error:
        return Finding(name, "fail", str(error), "is there a network, a proxy, a firewall? `zvt-crypto demo` needs none")
    return _clock(name, venue_ns, before, after)


def _clock(name: str, venue_ns: int, before_ns: int, after_ns: int) -> Finding:
    """The venue's clock was read somewhere between sending and receiving: the offset is known to within half of that."""
    offset_ms, within_ms = (venue_ns - (before_ns + after_ns) / 2) / 1e6, (after_ns - before_ns) / 2e6
    said = f"answers in {2 * within_ms:.0f} ms; our clock is off by {-offset_ms:+.0f} ms (within {within_ms:.0f})"
    worst = max(0.0, abs(offset_ms) - within_ms)
    if worst > CLOCK_WARN_MS:
        return Finding(
            name,
            "fail" if worst > CLOCK_FAIL_MS else "warn",
            said,
            "set this machine's clock (NTP): lags and backfill ends are wrong by as much",
        )
    return Finding(name, "ok", said)


def _print(finding: Finding) -> None:
    from zvt_crypto.cli.out import stdout_console

    color = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.state]
    console = stdout_console()
    console.print(f"[{color}]{finding.state:<4}[/] {finding.name:<13} ", end="")
    console.print(finding.said, markup=False)
    if finding.hint:
        console.print(f"                   → {finding.hint}", markup=False)
