"""Over real sockets: connections that are refused by the kernel, TLS, and handshakes that fail."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from emulator_kit import START_NS

from faults.certificates import certified
from zvt_crypto.domain.errors import BadInput, Unreachable
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.doors import HANDSHAKE_FAILURE, ListeningDoor
from zvt_crypto.emulator.faults import What
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld
from zvt_crypto.emulator.script import read_script, set_up
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.venues.http import NetTransport

Files = tuple[Path, Path]
TLS_SCRIPT = '[[fault]]\nat = "1s"\nkind = "tls"\n'


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certified(tmp_path_factory.mktemp("tls"))


class Peer:
    """The emulator and our own client of it."""

    def __init__(self, server: EmulatorServer, rest: str, ws: str, net: NetTransport) -> None:
        self.server, self.rest, self.ws, self.net = server, rest, ws, net

    async def ask(self, what: str) -> str:
        """`ok`, or what our client says."""
        try:
            if what == "rest":
                assert (await self.net.request("GET", f"{self.rest}/emulator/status")).status == 200
            else:
                await (await self.net.connect(f"{self.ws}/ws/btcusdt@trade")).close()
        except Unreachable as error:
            return str(error)
        return "ok"

    async def until(self, what: str, holds: Callable[[str], bool]) -> str:
        """Ask again and again until the answer is such; the first may be of a connection that was on its way."""
        for _ in range(2000):
            if holds(said := await self.ask(what)):
                return said
            await asyncio.sleep(0.01)
        raise AssertionError(said)


@asynccontextmanager
async def emulated(tls: Files | None, net: NetTransport) -> AsyncIterator[Peer]:
    dialect = BinanceDialect(MarketWorld(3, DEFAULT_SYMBOLS[:1], start_ns=time.time_ns(), events_per_s=50.0, history_days=1))
    server = EmulatorServer(dialect)
    try:
        yield Peer(server, *(await server.start(tls=tls)), net)
    finally:
        await net.close()
        await server.stop()


@pytest.mark.parametrize(("what", "kept"), [("ws", "rest"), ("rest", "ws"), ("all", None)])
async def test_refused_is_refused_by_the_kernel_and_over_when_its_time_is(what: What, kept: str | None) -> None:
    async with emulated(None, NetTransport()) as peer:
        stands = await peer.net.connect(f"{peer.ws}/ws/btcusdt@bookTicker")
        assert [await peer.ask(one) for one in ("rest", "ws")] == ["ok", "ok"]  # the first leaves a connection that is kept
        peer.server.dialect.faults.refuse_connections(3600, what)
        peer.server.ring()
        for one in ("rest", "ws") if what == "all" else (what,):
            await peer.until(one, lambda said: said.endswith("refuses the connection"))
        if kept:
            assert await peer.ask(kept) == "ok"
        await stands.receive()
        assert await asyncio.wait_for(stands.receive(), 20)  # what stood goes on
        peer.server.dialect.faults.let_in()
        peer.server.ring()
        for one in ("rest", "ws"):
            await peer.until(one, lambda said: said == "ok")  # at the same port


async def test_a_refusal_ends_by_itself_and_may_come_again() -> None:
    async with emulated(None, NetTransport()) as peer:
        for _ in range(2):
            peer.server.dialect.faults.refuse_connections(0.2)
            peer.server.ring()
            await peer.until("ws", lambda said: said.endswith("refuses the connection"))
            await peer.until("ws", lambda said: said == "ok")


async def test_https_and_wss_are_tls_1_3_and_handshakes_fail_with_an_alert_while_a_fault_says_so(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))  # as the guide says
    async with emulated(files, NetTransport()) as peer:
        assert (peer.rest[:8], peer.ws[:6]) == ("https://", "wss://")
        stands = await peer.net.connect(f"{peer.ws}/ws/btcusdt@bookTicker")
        assert [await peer.ask(one) for one in ("rest", "ws")] == ["ok", "ok"]
        for url in (peer.rest, peer.ws):
            old = ssl.create_default_context(cafile=str(files[0]))
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]), ssl=old)
        peer.server.dialect.faults.fail_tls(3600, "all")
        peer.server.ring()
        for one in ("rest", "ws"):
            said = await peer.until(one, lambda said: "refuses the handshake" in said)
            assert "TLS with 127.0.0.1:" in said
        await stands.receive()
        assert await asyncio.wait_for(stands.receive(), 20)
        peer.server.dialect.faults.let_in()
        peer.server.ring()
        for one in ("rest", "ws"):
            await peer.until(one, lambda said: said == "ok")


async def test_who_does_not_know_the_certificate_does_not_connect(files: Files) -> None:
    async with emulated(files, NetTransport()) as peer:
        for one in ("rest", "ws"):
            assert "its certificate is not accepted: self-signed certificate" in await peer.ask(one)


async def test_a_script_with_tls_is_not_served_without() -> None:
    dialect = BinanceDialect(MarketWorld(3, start_ns=START_NS, history_days=1))
    set_up(read_script(TLS_SCRIPT), dialect, START_NS)
    with pytest.raises(BadInput, match="needs TLS: serve with a certificate"):
        await EmulatorServer(dialect).start()


async def test_a_wrong_certificate_or_key_is_named(files: Files, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nothing in PEM")
    cert, key = files
    other, nothing, missing = certified(tmp_path, "other"), tmp_path / "no.pem", tmp_path / "missing.pem"
    locked = certified(tmp_path, "locked", b"secret")
    for tls, said in (
        ((missing, key), "TLS certificate '.*' does not exist"),
        ((cert, missing), "TLS key '.*' does not exist"),
        ((tmp_path, key), "TLS certificate .* does not exist"),
        ((nothing, key), "TLS certificate '.*' holds no certificate"),
        ((cert, nothing), "TLS key '.*' holds no private key"),
        ((cert, other[1]), "TLS key '.*' is not that of the certificate"),
        (locked, "TLS key '.*' is locked with a passphrase"),
    ):
        server = EmulatorServer(BinanceDialect(MarketWorld(3, start_ns=START_NS, history_days=1)))
        with pytest.raises(BadInput, match=said):
            await server.start(tls=tls)


async def test_the_port_of_a_shut_door_is_nobody_elses_and_given_back_at_the_end() -> None:
    async def serve(**place: Any) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(asyncio.Protocol, **place)

    for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
        door = ListeningDoor(serve)
        port = await door.open(host, 0)
        await door.turn("nobody")
        await door.turn("nobody")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taker, pytest.raises(OSError, match="in use"):
            taker.bind((host, port))
        await door.turn("alert")
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"\x16\x03\x01")
        assert await reader.read() == HANDSHAKE_FAILURE
        writer.close()
        await door.turn("nobody")
        door.close()
        door.close()
        assert await ListeningDoor(serve).open(host, port) == port
