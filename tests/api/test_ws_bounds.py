"""What strangers may do to the gateway, through real sockets: nothing that others notice."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from api.api_parts import BTC, NOW, make_kline
from api.ws_parts import Hall
from zvt_crypto.api.deps import AccessRules
from zvt_crypto.api.ws import gateway as gateway_room
from zvt_crypto.api.ws.gateway import Gateway, GatewayOptions
from zvt_crypto.api.ws.session import MOST_SUBSCRIPTIONS
from zvt_crypto.domain.errors import PortTaken
from zvt_crypto.domain.instrument import CryptoPair, Instruments
from zvt_crypto.domain.market import BookDelta, BookSnapshot, Trade

PING = b'{"id":1,"method":"ping"}'
PONG = (1, b'{"id":1,"result":"pong"}')


@pytest.mark.parametrize(
    ("text", "answered_id", "code", "named"),
    [
        ("nonsense", None, "bad_frame", "malformed"),
        ("[]", None, "bad_frame", "object"),
        ("{}", None, "bad_frame", "method"),
        ('{"method": 5}', None, "bad_frame", "$.method"),
        ('{"id": {}, "method": "ping"}', None, "bad_frame", "id must be"),
        ('{"id": 1.5, "method": "ping"}', None, "bad_frame", "id must be"),
        ('{"id": "' + "x" * 65 + '", "method": "ping"}', None, "bad_frame", "64"),
        ('{"id": 7, "method": "resume"}', 7, "unknown_method", "'resume'"),
        ('{"id": 7, "method": "subscribe", "params": []}', 7, "bad_frame", "params"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": 5}}', 7, "bad_frame", "$.channel"),
        ('{"id": 7, "method": "subscribe"}', 7, "bad_input", "params.channel"),
        ('{"id": 7, "method": "subscribe", "params": null}', 7, "bad_input", "params.channel"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "news"}}', 7, "unknown_channel", "'news'"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "trade"}}', 7, "bad_input", "params.symbol"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "trade", "symbol": "dogeusdt"}}', 7, "unknown_symbol", "'dogeusdt'"),
        (
            '{"id": 7, "method": "subscribe", "params": {"channel": "trade", "symbol": "btcusdt", "exchange": "x"}}',
            7,
            "unknown_exchange",
            "'x'",
        ),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "kline", "symbol": "btcusdt"}}', 7, "bad_input", "params.interval"),
        (
            '{"id": 7, "method": "subscribe", "params": {"channel": "kline", "symbol": "btcusdt", "interval": "7m"}}',
            7,
            "unknown_interval",
            "'7m'",
        ),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "depth", "symbol": "btcusdt", "depth": 101}}', 7, "out_of_range", "'101'"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "depth", "symbol": "btcusdt", "depth": "20"}}', 7, "bad_frame", "$.depth"),
        ('{"id": 7, "method": "subscribe", "params": {"channel": "depth", "symbol": "btcusdt", "depth": 1e99}}', 7, "bad_frame", "depth"),
        ('{"method": "ping", "params": ' + "[" * 8000 + "]" * 8000 + "}", None, "bad_frame", "deep"),
        ('{"id": ' + "[" * 8000 + "]" * 8000 + ', "method": "ping"}', None, "bad_frame", ""),
    ],
)
async def test_what_cannot_be_done_is_said_under_the_clients_id_and_the_connection_stays(
    hall: Hall, text: str, answered_id: Any, code: str, named: str
) -> None:
    client = await hall.connect()
    await client.socket.send_str(text)
    answer = await client.hear()
    assert set(answer) == {"id", "error"}
    assert set(answer["error"]) == {"code", "message"}
    assert (answer["id"], answer["error"]["code"]) == (answered_id, code)
    assert named in answer["error"]["message"]
    await client.hears_nothing()


async def test_a_binary_message_is_refused_and_the_connection_stays(hall: Hall) -> None:
    raw = await hall.raw()
    raw.send(2, PING)
    opcode, payload = await raw.frame()
    assert (opcode, json.loads(payload)["error"]["code"]) == (1, "bad_frame")
    raw.send(1, PING)
    assert await raw.frame() == PONG


async def test_fragments_make_one_message_with_a_ping_between_them(hall: Hall) -> None:
    raw = await hall.raw()
    raw.send(1, PING[:5], fin=False)
    raw.send(9, b"hello")
    assert await raw.frame() == (10, b"hello")
    raw.send(0, PING[5:9], fin=False)
    raw.send(0, PING[9:])
    assert await raw.frame() == PONG


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(1, b"x" * (16 * 1024 + 1), {})], 1009),
        ([(1, b"x" * 9000, {"fin": False}), (0, b"x" * 9000, {})], 1009),
        ([(1, b"\xff\xfe", {})], 1007),
        ([(0, PING, {})], 1002),
        ([(1, PING, {"fin": False}), (1, PING, {})], 1002),
        ([(1, PING, {"masked": False})], 1002),
        ([(1, PING, {"rsv": 4})], 1002),
        ([(3, b"", {})], 1002),
        ([(9, b"x", {"fin": False})], 1002),
        ([(2, b"x", {"fin": False})], 1003),
        ([(8, b"\x03\xe8", {})], 1000),
        ([(8, b"", {})], 1000),
    ],
)
async def test_who_breaks_the_protocol_is_closed_with_its_code(
    hall: Hall, frames: list[tuple[int, bytes, dict[str, Any]]], code: int
) -> None:
    bystander = await hall.connect()
    raw = await hall.raw()
    for opcode, payload, how in frames:
        raw.send(opcode, payload, **how)
    assert (await raw.closed())[0] == code
    await bystander.hears_nothing()
    assert hall.gateway.clients() == 1


async def test_a_flood_of_requests_is_closed_with_a_reason(hall: Hall) -> None:
    raw = await hall.raw()
    for _ in range(gateway_room.MOST_REQUESTS_A_SECOND + 1):
        raw.send(1, PING)
    code, reason = await raw.closed()
    assert (code, "200 requests in a second" in reason) == (1008, True)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"path": b"/ws/v2"}, 404, "no_such_path"),
        ({"host": b"evil.example"}, 421, "host_not_allowed"),
        ({"extra": b"Origin: https://evil.example\r\n"}, 403, "origin_not_allowed"),
        ({"extra": b"Origin: null\r\n"}, 403, "origin_not_allowed"),
        ({"extra": b"Origin: http://[bad\r\n"}, 403, "origin_not_allowed"),
        ({"extra": b"Origin: file:///etc/passwd\r\n"}, 403, "origin_not_allowed"),
    ],
)
async def test_who_is_not_wanted_is_refused_before_the_upgrade(hall: Hall, how: dict[str, bytes], status: int, code: str) -> None:
    raw = await hall.raw(**how)
    assert raw.head.startswith(b"HTTP/1.1 %d " % status)
    assert b"application/problem+json" in raw.head
    assert json.loads(await raw.reader.read())["code"] == code
    raw.writer.close()


@pytest.mark.parametrize(
    "how",
    [
        {"extra": b"Origin: http://localhost:3000\r\n"},
        {"extra": b"Origin: https://charts.example\r\n"},
        {"host": b"[::1]:8001"},
        {"connection": b"keep-alive, Upgrade"},  # as Firefox asks
        {"path": b"/ws/v1?x=1"},
    ],
)
async def test_who_is_wanted_gets_in(hall: Hall, how: dict[str, bytes]) -> None:
    raw = await hall.raw(**how)
    assert raw.head.startswith(b"HTTP/1.1 101 ")
    raw.writer.close()


async def test_a_port_that_is_taken_is_said_before_anything_starts(hall: Hall) -> None:
    second = Gateway(hall.feed, hall.live, Instruments, hall.clock, hall.observer, port=hall.port)
    with pytest.raises(PortTaken, match=str(hall.port)):
        await second.start()
    await second.stop()


def many_instruments(count: int) -> Instruments:
    return Instruments(
        CryptoPair(
            id=f"cryptopair_binance_c{i}usdt",
            exchange="binance",
            native_symbol=f"C{i}USDT",
            base_asset=f"C{i}",
            quote_asset="USDT",
            tick=Decimal("0.01"),
        )
        for i in range(count)
    )


async def test_subscriptions_and_clients_are_counted(hall: Hall) -> None:
    table = many_instruments(MOST_SUBSCRIPTIONS + 1)
    gateway = Gateway(hall.feed, hall.live, lambda: table, hall.clock, hall.observer, port=0, options=GatewayOptions(most_clients=1))
    hall.port, old = await gateway.start(), hall.port
    client = await hall.connect()
    for i, instrument in enumerate(table):
        await client.say(id=i, method="subscribe", params={"channel": "trade", "symbol": instrument.id})
        hall.clock.ns += 10_000_000
        answer = await client.hear()
        assert ("result" in answer) == (i < MOST_SUBSCRIPTIONS)
    assert answer["error"]["code"] == "too_many"
    raw = await hall.raw()
    assert raw.head.startswith(b"HTTP/1.1 503 ")
    raw.writer.close()
    await client.socket.close()
    await gateway.stop()
    hall.port = old


async def stall(hall: Hall, channel: str, **more: Any) -> Any:
    """A raw client that subscribes and then reads nothing at all."""
    raw = await hall.raw()
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    params = {"channel": channel, "symbol": BTC.id, **more}
    raw.send(1, json.dumps({"method": "subscribe", "params": params}).encode())
    return raw


def make_trades(first: int, count: int) -> list[Trade]:
    return [Trade(BTC.id, "trade", str(i), 100.0, 1.0, "buy", NOW, NOW) for i in range(first, first + count)]


async def test_a_client_that_does_not_read_its_trades_is_closed_with_the_reason_and_delays_nobody(hall: Hall) -> None:
    raw, good = await stall(hall, "trade"), await hall.connect()
    await good.subscribe("trade")
    heard, number = 0, 0
    while hall.gateway.clients() == 2:
        hall.happen(*make_trades(number, 400))
        number += 400
        while heard < number:
            heard += len((await good.hear())["data"])
        assert number < 100_000, "the stalled client was never closed"
    # What the good client heard is complete and in order; the stalled one finds the reason once it reads.
    raw.writer.transport.resume_reading()
    assert 'zvt_crypto_ws_closed_total{code="1008"} 1.0' in hall.observer.render().decode()
    raw.writer.close()


async def fill(hall: Hall, change: Any) -> None:
    """Let things happen until the stalled client counts as slow."""
    for step in range(1, 50_000):
        change(step)
        hall.gateway._flush()
        if step % 50 == 0:
            await asyncio.sleep(0)
            if "zvt_crypto_ws_slow_total 1.0" in hall.observer.render().decode():
                return
    raise AssertionError("the stalled client never counted as slow")


async def last_frame(raw: Any, wanted: Any) -> list[Any]:
    """All messages up to the first that `wanted` accepts."""
    raw.writer.transport.resume_reading()
    heard: list[Any] = []
    while not heard or not wanted(heard[-1]):
        opcode, payload = await raw.frame()
        assert opcode == 1
        heard.append(json.loads(payload))
    raw.writer.close()
    return heard


async def test_a_slow_client_gets_the_newest_row_of_each_kline_and_never_misses_a_final_one(hall: Hall) -> None:
    raw = await stall(hall, "kline", interval="1m")

    def change(step: int) -> None:
        hall.gateway.hub.take([make_kline("2024-08-09T00:00:00Z", float(step), final=False)])

    await fill(hall, change)
    for minute in range(3):
        for close in range(10):
            hall.happen(make_kline(f"2024-08-09T00:0{minute}:00Z", 1e6 + close, final=close == 9))
        await asyncio.sleep(0.01)
    heard = await last_frame(raw, lambda m: m.get("data", {}).get("timestamp") == "2024-08-09T00:02:00.000Z")
    finals = [m["data"]["timestamp"] for m in heard if m.get("data", {}).get("final")]
    assert finals == [f"2024-08-09T00:0{minute}:00.000Z" for minute in range(3)]
    seqs = [m["seq"] for m in heard if "seq" in m]
    assert seqs == sorted(seqs)


async def test_a_slow_client_gets_a_snapshot_instead_of_the_deltas_it_missed(hall: Hall) -> None:
    hall.live.apply(BookSnapshot(BTC.id, 1, [(100.0 - i, 1.0) for i in range(60)], [(101.0 + i, 1.0) for i in range(60)], NOW, NOW))
    raw = await stall(hall, "depth", depth=50)

    def change(step: int) -> None:
        levels = [(100.0 - i, 1.0 + (step + i) % 7) for i in range(50)]
        delta = BookDelta(BTC.id, step + 1, step + 1, None, levels, [], NOW, NOW)
        hall.live.apply(delta)
        hall.gateway.hub.take([delta])

    await fill(hall, change)
    for step in range(3):
        hall.happen(BookDelta(BTC.id, 10**6 + step, 10**6 + step, None, [(100.0, 75.0 + step)], [], NOW, NOW))
        await asyncio.sleep(0.01)
    heard = await last_frame(raw, lambda m: m.get("type") == "snapshot" and m["data"]["bids"][0] == ["100.00", "77.00000"])
    assert len(heard[-1]["data"]["bids"]) == 50
    assert heard[-1]["seq"] > heard[-2]["seq"] + 1


async def test_a_client_that_does_not_answer_pings_is_gone_after_a_while(hall: Hall) -> None:
    gateway = Gateway(
        hall.feed, hall.live, Instruments, hall.clock, hall.observer, port=0, options=GatewayOptions(ping_s=0.05, farewell_s=0.05)
    )
    hall.port, old = await gateway.start(), hall.port
    raw = await hall.raw()
    assert await raw.frame() == (9, b"")
    assert (await raw.closed())[0] == 1001
    assert gateway.clients() == 0
    await gateway.stop()
    hall.port = old


async def test_any_host_is_taken_where_the_rules_say_so(hall: Hall) -> None:
    gateway = Gateway(
        hall.feed, hall.live, Instruments, hall.clock, hall.observer, port=0, options=GatewayOptions(access=AccessRules(hosts=("*",)))
    )
    hall.port, old = await gateway.start(), hall.port
    raw = await hall.raw(host=b"box.lan")
    assert raw.head.startswith(b"HTTP/1.1 101 ")
    raw.writer.close()
    await gateway.stop()
    hall.port = old


async def test_the_end_of_the_feed_ends_the_gateway_with_its_reason(hall: Hall) -> None:
    class Broken(Exception):
        pass

    def break_it(events: Any) -> None:
        raise Broken

    hall.gateway.hub.take = break_it  # type: ignore[method-assign]
    hall.happen(*make_trades(1, 1))
    with pytest.raises(Broken):
        await hall.gateway.wait()
