"""The two carriers: memory on virtual time, and real sockets. Faults work in both."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from emulator_kit import FIXTURES, START_NS
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from zvt_crypto.domain.errors import Banned, Disconnected, GeoBlocked, PortTaken, Refused, Throttled, Unreachable
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld, symbol_for
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.replay import ReplayWorld
from zvt_crypto.emulator.server import EmulatorServer
from zvt_crypto.emulator.virtual import VirtualClock

SPOT = FIXTURES / "hftbacktest_spot_btcusdt.gz"
ALL_SPOT = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"


def market(start_ns: int = START_NS, events_per_s: float = 2.0) -> BinanceDialect:
    return BinanceDialect(MarketWorld(3, start_ns=start_ns, events_per_s=events_per_s, history_days=1))


def memory(dialect: BinanceDialect, **more: Any) -> tuple[MemoryTransport, VirtualClock]:
    clock = VirtualClock()
    return MemoryTransport(dialect, clock, **more), clock


# ── Virtual time ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_virtual_time_jumps_and_waits_in_order() -> None:
    async def main() -> list[tuple[str, int]]:
        clock, log = VirtualClock(), []

        async def wait(name: str, seconds: float) -> None:
            await clock.sleep(seconds)
            log.append((name, (clock.now_ns() - START_NS) // 10**9))

        await asyncio.gather(wait("day", 86_400), wait("minute", 60), wait("hour", 3_600))
        return log

    began = time.perf_counter()
    assert virtual.run(main()) == [("minute", 60), ("hour", 3_600), ("day", 86_400)]
    assert time.perf_counter() - began < 2.0


def test_virtual_time_begins_where_it_is_told() -> None:
    async def main() -> int:
        return VirtualClock().now_ns()

    assert virtual.run(main(), start_ns=77) == 77


def test_a_loop_in_which_everybody_waits_for_ever_says_so() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits"):
        virtual.run(main())


def test_virtual_time_runs_far_ahead_of_the_processor() -> None:
    """At 20 events a virtual second (the default market), read as one-minute klines."""

    async def main() -> int:
        dialect = BinanceDialect(MarketWorld(3, start_ns=START_NS, history_days=1))
        transport, clock = memory(dialect)
        socket = await transport.connect("ws://emulator/ws/btcusdt@kline_1m")
        frames = 0
        while clock.now_ns() < START_NS + 3_000 * 10**9:
            frames += len(await socket.receive())
        await transport.close()
        return frames

    began = time.process_time()
    assert virtual.run(main()) > 1_000
    assert 3_000 / (time.process_time() - began) > 100  # 1,800 alone on the development machine; tracing costs a factor of ten


# ── Memory ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_client_in_memory_sees_klines_close_on_the_minute() -> None:
    async def main() -> list[int]:
        transport, clock = memory(market())
        socket = await transport.connect("ws://emulator/ws")
        await socket.send(b'{"method":"SUBSCRIBE","params":["btcusdt@kline_1m"],"id":1}')
        closed: list[int] = []
        while len(closed) < 3:
            for payload, recv_ns in await socket.receive():
                message = json.loads(payload)
                if message.get("k", {}).get("x"):
                    assert recv_ns == clock.now_ns()
                    closed.append((recv_ns - START_NS) // 10**9)
        await transport.close()
        return closed

    assert virtual.run(main()) == [60, 120, 180]


def test_latency_passes_once_each_way() -> None:
    async def main() -> tuple[int, int, int]:
        transport, clock = memory(market(events_per_s=20.0), latency_ms=50)
        await transport.request("GET", "http://emulator/api/v3/time")
        asked = clock.now_ns() - START_NS
        socket = await transport.connect("ws://emulator/ws/btcusdt@trade")
        behind = []
        while len(behind) < 50:
            behind += [recv_ns - json.loads(payload)["E"] * 10**6 for payload, recv_ns in await socket.receive()]
        await transport.close()
        return asked, min(behind), max(behind)

    asked, least, most = virtual.run(main())
    assert asked == 100_000_000
    assert 50_000_000 <= least <= most < 52_000_000  # event times are whole milliseconds


def test_an_answer_slower_than_the_patience_is_unreachable() -> None:
    async def main() -> None:
        transport, _ = memory(market(), latency_ms=500)
        await transport.request("GET", "http://emulator/api/v3/time", timeout_ms=100)

    with pytest.raises(Unreachable, match="within 100 ms"):
        virtual.run(main())


def test_an_unknown_host_is_unreachable() -> None:
    async def main() -> None:
        dialect = market()
        transport = MemoryTransport({"api.binance.com": dialect}, VirtualClock())
        assert (await transport.request("GET", "https://api.binance.com/api/v3/ping")).status == 200
        await transport.request("GET", "https://elsewhere/api/v3/ping")

    with pytest.raises(Unreachable, match="elsewhere"):
        virtual.run(main())


def test_header_names_are_lower_case() -> None:
    async def main() -> dict[str, str]:
        return dict((await memory(market())[0].request("GET", "http://emulator/api/v3/ping")).headers)

    assert virtual.run(main())["x-mbx-used-weight-1m"] == "1"


def test_a_quiet_connection_lives_on_answered_pings() -> None:
    async def main() -> int:
        transport, clock = memory(market(events_per_s=0.1))
        socket = await transport.connect("ws://emulator/ws/nope@trade")
        await clock.sleep(3_600)
        await socket.send(b'{"method":"LIST_SUBSCRIPTIONS","id":1}')
        count = len(await socket.receive())
        await transport.close()
        return count

    assert virtual.run(main()) == 1


def test_a_closed_socket_raises_disconnected_and_closes_twice() -> None:
    async def main() -> None:
        transport, _ = memory(market())
        socket = await transport.connect("ws://emulator/ws")
        await socket.close()
        await socket.close()
        with pytest.raises(Disconnected):
            await socket.receive()
        with pytest.raises(Disconnected):
            await socket.send(b"{}")

    virtual.run(main())


def test_a_replay_in_memory_is_read_to_the_last_byte() -> None:
    async def main() -> list[bytes]:
        world = ReplayWorld(read_capture(SPOT), speed=None, gather_s=0.5)
        transport, _ = memory(BinanceDialect(world))
        socket = await transport.connect("ws://emulator" + ALL_SPOT.replace("/btcusdt@bookTicker", ""))
        other = await transport.connect("ws://emulator/stream?streams=btcusdt@bookTicker")
        got: list[bytes] = []

        async def read(one: Any, count: int) -> None:
            while count > 0:
                frames = await one.receive()
                got.extend(payload for payload, _ in frames)
                count -= len(frames)

        quotes = sum(1 for frame in world.capture.frames if frame.stream.endswith("bookTicker"))
        await asyncio.gather(read(socket, len(world.capture.frames) - quotes), read(other, quotes))
        await transport.close()
        return got

    assert sorted(virtual.run(main())) == sorted(frame.payload for frame in read_capture(SPOT).frames)


# ── Faults in memory ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dropped_frame_is_missing_and_only_it() -> None:
    async def main() -> list[int]:
        dialect = market(events_per_s=10.0)
        transport, _ = memory(dialect)
        socket = await transport.connect("ws://emulator/ws/btcusdt@depth@100ms")
        seen: list[int] = []
        while len(seen) < 20:
            if len(seen) >= 5 and not dialect.faults.dropped:
                dialect.faults.drop_frame(lambda payload: b"depthUpdate" in payload)
            for payload, _ in await socket.receive():
                message = json.loads(payload)
                seen += [message["U"], message["u"]]
        await transport.close()
        assert dialect.faults.dropped == 1
        return seen

    seen = virtual.run(main())
    gaps = [after - before for before, after in zip(seen[1::2], seen[2::2], strict=False) if after != before + 1]
    assert len(gaps) == 1


async def read_on(socket: Any) -> None:
    while True:
        await socket.receive()


def test_a_cut_ends_every_connection_and_a_refusal_keeps_them_out_for_its_time() -> None:
    async def main() -> None:
        dialect = market()
        transport, clock = memory(dialect)
        sockets = [await transport.connect("ws://emulator/ws/btcusdt@trade") for _ in range(2)]
        dialect.faults.cut_all()
        dialect.faults.refuse_connections(5)
        transport.cut()
        for socket in sockets:
            with pytest.raises(Disconnected):
                await read_on(socket)
        with pytest.raises(Unreachable):
            await transport.connect("ws://emulator/ws")
        assert (await transport.request("GET", "http://emulator/api/v3/ping")).status == 200
        await clock.sleep(5)
        await transport.connect("ws://emulator/ws")
        await transport.close()

    virtual.run(main())


def test_in_memory_too_rest_may_be_refused_and_tls_fail() -> None:
    async def main() -> None:
        dialect = market()
        transport, clock = memory(dialect)
        for order, said in ((dialect.faults.refuse_connections, "refused the connection"), (dialect.faults.fail_tls, "TLS failed")):
            order(5, "all")
            order(1, "rest")  # a shorter one does not end the longer one
            for _ in range(2):
                with pytest.raises(Unreachable, match=said):
                    await transport.request("GET", "http://emulator/api/v3/ping")
                with pytest.raises(Unreachable, match=said):
                    await transport.connect("ws://emulator/ws")
                await clock.sleep(2)
            await clock.sleep(1)
            assert (await transport.request("GET", "http://emulator/api/v3/ping")).status == 200
            await (await transport.connect("ws://emulator/ws")).close()
        await transport.close()

    virtual.run(main())


def test_a_stall_is_silence_without_an_end() -> None:
    async def main() -> None:
        dialect = market(events_per_s=10.0)
        transport, clock = memory(dialect)
        socket = await transport.connect("ws://emulator/ws/btcusdt@bookTicker")
        await socket.receive()
        dialect.faults.stall()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 30)
        began = clock.now_ns()
        dialect.faults.resume()
        payload = (await socket.receive())[0][1]
        assert payload >= began
        await transport.close()

    virtual.run(main())


@pytest.mark.parametrize(
    ("status", "error"), [(429, Throttled), (418, Banned), (403, Throttled), (451, GeoBlocked), (400, Refused), (502, Unreachable)]
)
def test_a_scripted_status_meets_requests_and_handshakes(status: int, error: type[Exception]) -> None:
    async def main() -> None:
        dialect = market()
        transport, _ = memory(dialect)
        dialect.faults.http(status, 2)
        for _ in range(2):
            assert (await transport.request("GET", "http://emulator/api/v3/ping")).status == status
        assert (await transport.request("GET", "http://emulator/api/v3/ping")).status == 200
        dialect.faults.http(status, path="/ws")
        assert (await transport.request("GET", "http://emulator/api/v3/ping")).status == 200
        with pytest.raises(error):
            await transport.connect("ws://emulator/ws")

    virtual.run(main())


def test_a_handshake_refused_for_its_country_is_told_from_one_refused_for_its_haste() -> None:
    async def main() -> None:
        dialect = market()
        transport, _ = memory(dialect)
        dialect.faults.http(403, body=b"<html>configured to block access from your country</html>")
        with pytest.raises(GeoBlocked):
            await transport.connect("ws://emulator/ws")

    virtual.run(main())


@pytest.mark.parametrize(("status", "start", "header"), [(429, b"{", "1"), (502, b"<html>", None), (503, b'{"code":-1008', None)])
def test_a_scripted_answer_looks_like_binances(status: int, start: bytes, header: str | None) -> None:
    dialect = market()
    dialect.faults.http(status)
    got, headers, body = dialect.handle_http("GET", "/api/v3/ping", "", {}, START_NS)
    assert got == status
    assert body.startswith(start)
    assert headers.get("Retry-After") == header


# ── Sockets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Client(WSListener):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []
        self.ended = asyncio.Event()
        self.news = asyncio.Event()
        self.code: object = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.news.set()
        if frame.msg_type == WSMsgType.TEXT:
            self.frames.append(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.PONG:
            self.frames.append(b"pong " + frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            self.code = frame.get_close_code()
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ended.set()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.frames) < count:
                self.news.clear()
                await self.news.wait()


async def dial(url: str) -> tuple[WSTransport, Client]:
    transport, client = await ws_connect(Client, url, enable_auto_pong=True)
    assert isinstance(client, Client)
    return transport, client


@pytest.fixture
async def live() -> AsyncIterator[tuple[EmulatorServer, str, str]]:
    dialect = BinanceDialect(MarketWorld(3, DEFAULT_SYMBOLS[:1], start_ns=time.time_ns(), events_per_s=300.0, history_days=1))
    server = EmulatorServer(dialect)
    rest, ws = await server.start()
    yield server, rest, ws
    await server.stop()
    await server.stop()


Live = tuple[EmulatorServer, str, str]


async def test_rest_and_websocket_over_sockets(live: Live) -> None:
    _, rest, ws = live
    transport, client = await dial(ws + "/ws")
    transport.send(WSMsgType.TEXT, b'{"method":"SUBSCRIBE","params":["btcusdt@bookTicker"],"id":7}')
    transport.send(WSMsgType.PING, b"hi")
    await client.until(10)
    assert {b'{"result":null,"id":7}', b"pong hi"} <= set(client.frames)
    async with aiohttp.ClientSession() as http, http.get(rest + "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=2") as answer:
        assert answer.status == 200
        assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "2"
        assert len(await answer.json()) == 2
    transport.disconnect()


async def test_too_many_messages_over_sockets_end_with_1008(live: Live) -> None:
    _, _, ws = live
    transport, client = await dial(ws + "/ws")
    for _ in range(6):
        transport.send(WSMsgType.TEXT, b'{"method":"LIST_SUBSCRIPTIONS","id":7}')
    await asyncio.wait_for(client.ended.wait(), 5)
    assert getattr(client.code, "value", client.code) == 1008


async def test_the_control_endpoint_tells_and_cuts(live: Live) -> None:
    _, rest, ws = live
    _, client = await dial(ws + "/ws/btcusdt@trade")
    async with aiohttp.ClientSession() as http:
        async with http.get(rest + "/emulator/status") as answer:
            status = await answer.json()
        assert (status["mode"], status["done"], status["sessions"]) == ("market", False, 1)
        async with http.get(rest + "/emulator/cut") as answer:
            assert answer.status == 405
        async with http.post(rest + "/emulator/cut") as answer:
            assert await answer.json() == {"cut": 1}
    await asyncio.wait_for(client.ended.wait(), 5)
    assert client.code is None  # no close frame


async def test_faults_work_over_sockets(live: Live) -> None:
    server, _, ws = live
    faults = server.dialect.faults
    faults.http(429, path="/ws")
    with pytest.raises(Exception, match="429"):
        await dial(ws + "/ws")
    with pytest.raises(Exception, match="404"):
        await dial(ws + "/nowhere")
    transport, client = await dial(ws + "/ws/btcusdt@bookTicker")
    await client.until(2)
    faults.stall()
    await asyncio.sleep(0.05)
    count = len(client.frames)
    await asyncio.sleep(0.3)
    assert len(client.frames) == count
    faults.resume()
    await client.until(count + 2)
    transport.disconnect()


async def test_a_port_that_is_taken_is_named(live: Live) -> None:
    _, rest, ws = live
    for ports in ({"rest_port": int(rest.rpartition(":")[2])}, {"ws_port": int(ws.rpartition(":")[2])}):
        with pytest.raises(PortTaken, match=str(next(iter(ports.values())))):
            await EmulatorServer(market()).start(**ports)


async def test_stopping_says_goodbye_and_saves_the_position(tmp_path: Any) -> None:
    state = tmp_path / "position.json"
    world = ReplayWorld(read_capture(SPOT), speed=None, gather_s=0.0, state_path=state)
    server = EmulatorServer(BinanceDialect(world))
    _, ws = await server.start()
    _, client = await dial(ws + ALL_SPOT)
    await client.until(1499)
    await server.stop()
    await asyncio.wait_for(client.ended.wait(), 5)
    assert getattr(client.code, "value", client.code) == 1001
    assert json.loads(state.read_text())["position"] == 1499


async def test_a_replay_over_sockets_is_byte_for_byte_the_recording() -> None:
    world = ReplayWorld(read_capture(SPOT), speed=None, gather_s=0.0)
    server = EmulatorServer(BinanceDialect(world))
    rest, ws = await server.start()
    transport, client = await dial(ws + ALL_SPOT)
    await client.until(1499)
    assert client.frames == [frame.payload for frame in world.capture.frames]
    async with aiohttp.ClientSession() as http, http.get(rest + "/emulator/status") as answer:
        status = await answer.json()
    assert (status["frames"], status["frames_total"], status["done"]) == (1499, 1499, True)
    transport.disconnect()
    await server.stop()


async def test_a_paced_replay_over_sockets_takes_its_time() -> None:
    world = ReplayWorld(read_capture(SPOT), speed=50.0, gather_s=0.0)
    server = EmulatorServer(BinanceDialect(world))
    _, ws = await server.start()
    span_s = (world.capture.last_ns - world.capture.first_ns) / 1e9 / 50
    began = time.perf_counter()
    transport, client = await dial(ws + ALL_SPOT)
    await client.until(1499)
    assert time.perf_counter() - began >= span_s * 0.95
    transport.disconnect()
    await server.stop()


def test_any_name_makes_a_plausible_instrument() -> None:
    known, other = symbol_for("spot", "BTC"), symbol_for("usdm", "PEPE")
    assert known is DEFAULT_SYMBOLS[0]
    assert other.name == "PEPEUSDT"
    assert other == symbol_for("usdm", "PEPE")
    world = MarketWorld(1, [known, other], start_ns=START_NS, history_days=1)
    assert world.listings("usdm")["PEPEUSDT"].tick_e8 == 10_000
