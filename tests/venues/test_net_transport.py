"""The network code against real loopback servers: bounds, refusals, fragments, stamps, ends."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import re
import socket as sockets
import ssl
import time

import aiohttp
import pytest
from aiohttp import web
from picows import WSCloseCode, WSListener, WSMsgType, WSUpgradeResponse, WSUpgradeResponseWithListener, ws_create_server

from zvt_crypto.domain.errors import BadInput, Banned, Disconnected, GeoBlocked, Malformed, Refused, Throttled, Unreachable
from zvt_crypto.venues.causes import cause_of, place_of
from zvt_crypto.venues.ccxt.library import asked
from zvt_crypto.venues.clock import SystemClock
from zvt_crypto.venues.http import NetTransport
from zvt_crypto.venues.socket import FRAME_BYTES_MOST, handshake_fate


@pytest.fixture
async def net():
    transport = NetTransport(body_bytes_most=1_000_000, queued_frames_most=50, queued_bytes_most=100_000)
    yield transport
    await transport.close()


def free_port() -> int:
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
async def rest_url():
    seen = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(request.raw_path)
        match request.path:
            case "/echo":
                return web.json_response({"path": request.raw_path, "method": request.method}, headers={"X-MBX-USED-WEIGHT-1M": "12"})
            case "/moved":
                return web.Response(status=302, headers={"Location": "/echo"})
            case "/large":
                return web.Response(body=b"x" * 1_000_001)
            case "/bomb":
                zipped = web.Response(body=b"0" * 50_000_000)
                zipped.enable_compression(force=web.ContentCoding.gzip)
                return zipped
            case "/slow":
                await asyncio.sleep(0.5)
            case "/cut":
                request.transport.abort()
        return web.Response(status=503, text="<html>maintenance</html>")

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


# ── REST ──


async def test_the_url_goes_out_as_given_and_headers_come_in_lower_case(net, rest_url):
    got = await net.request("GET", f"{rest_url}/echo?symbol=%E5%B8%81USDT&x=a%2Fb")
    assert got.status == 200
    assert b"/echo?symbol=%E5%B8%81USDT&x=a%2Fb" in got.body
    assert got.headers["x-mbx-used-weight-1m"] == "12"


async def test_a_redirect_is_an_answer_and_not_followed(net, rest_url):
    assert (await net.request("GET", f"{rest_url}/moved")).status == 302


async def test_an_error_page_is_an_answer(net, rest_url):
    got = await net.request("GET", f"{rest_url}/any")
    assert (got.status, got.body) == (503, b"<html>maintenance</html>")


@pytest.mark.parametrize("path", ["/large", "/bomb"])
async def test_a_body_beyond_the_bound_is_refused(net, rest_url, path):
    with pytest.raises(Malformed, match="larger than 1000000 bytes"):
        await net.request("GET", rest_url + path)


async def test_no_answer_is_unreachable(net, rest_url):
    with pytest.raises(Unreachable, match="no answer within 50 ms"):
        await net.request("GET", f"{rest_url}/slow", timeout_ms=50)
    with pytest.raises(Unreachable):
        await net.request("GET", f"{rest_url}/cut")
    with pytest.raises(Unreachable):
        await net.request("GET", f"http://127.0.0.1:{free_port()}/x?secret=1")


async def test_a_message_never_holds_the_query(net):
    with pytest.raises(Unreachable) as error:
        await net.request("GET", f"http://127.0.0.1:{free_port()}/x?signature=canary")
    assert "canary" not in str(error.value)
    with pytest.raises(BadInput):
        await net.request("GET", "http:///x")


def test_certificates_are_verified():
    context = NetTransport()._tls
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


# ── WebSocket ──


class Venue(WSListener):
    """The other end. What it does is told by the path."""

    made: list[Venue]

    def __init__(self, path: bytes) -> None:
        super().__init__()
        self.path = path
        self.heard: list[bytes] = []
        self.pongs: list[bytes] = []

    def on_ws_connected(self, transport) -> None:
        self.transport = transport
        send = transport.send
        match self.path:
            case b"/fragments":
                send(WSMsgType.TEXT, b'{"a":', fin=False)
                send(WSMsgType.PING, b"between")
                send(WSMsgType.CONTINUATION, b'"b"', fin=False)
                send(WSMsgType.CONTINUATION, b"}")
            case b"/endless":
                for _ in range(9):
                    send(WSMsgType.TEXT if _ == 0 else WSMsgType.CONTINUATION, b"x" * (FRAME_BYTES_MOST // 8), fin=False)
            case b"/flood":
                for number in range(200):
                    send(WSMsgType.TEXT, b"%d" % number)
            case b"/bytes":
                for _ in range(3):
                    send(WSMsgType.TEXT, b"x" * 60_000)
            case b"/bye":
                send(WSMsgType.TEXT, b"last")
                transport.send_close(WSCloseCode.POLICY_VIOLATION, b"too many \x1b[31m requests")
            case b"/drop":
                send(WSMsgType.TEXT, b"last")
                transport.disconnect()
            case b"/ping":
                send(WSMsgType.PING, b"1700000000")

    def on_ws_frame(self, transport, frame) -> None:
        if frame.msg_type == WSMsgType.PONG:
            self.pongs.append(frame.get_payload_as_bytes())
            transport.send(WSMsgType.TEXT, b"ponged")
        elif self.path == b"/giant":
            transport.send(WSMsgType.TEXT, b"x" * (FRAME_BYTES_MOST + 1))
        elif frame.msg_type == WSMsgType.TEXT:
            self.heard.append(frame.get_payload_as_bytes())
            transport.send(WSMsgType.TEXT, b"heard " + self.heard[-1])


@pytest.fixture
async def ws_url():
    made = []

    def accept(request):
        path = request.path.partition(b"?")[0]
        if path.startswith(b"/http/"):
            status, _, body = path[6:].partition(b"/")
            return WSUpgradeResponseWithListener(
                WSUpgradeResponse.create_error_response(int(status), body.replace(b"+", b" "), {"Retry-After": "9"}), None
            )
        if path == b"/moved":
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_redirect_response(302, "/echo"), None)
        made.append(Venue(path))
        return made[-1]

    server = await ws_create_server(accept, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    Venue.made = made
    yield url
    server.close()
    for venue in made:
        venue.transport.disconnect()


async def frames(socket, count: int) -> list[bytes]:
    got: list[bytes] = []
    async with asyncio.timeout(5):
        while len(got) < count:
            got += [payload for payload, _ in await socket.receive()]
    return got


async def test_frames_are_sent_and_come_back_stamped(net, ws_url):
    before = time.time_ns()
    socket = await net.connect(f"{ws_url}/echo")
    await socket.send(b'{"id":1}')
    async with asyncio.timeout(5):
        ((payload, recv_ns),) = await socket.receive()
    assert payload == b'heard {"id":1}'
    assert before <= recv_ns <= time.time_ns()
    await socket.close()
    await socket.close()
    with pytest.raises(Disconnected, match="closed by us"):
        await socket.receive()
    with pytest.raises(Disconnected):
        await socket.send(b"x")


async def test_a_fragmented_message_is_put_together_around_a_ping(net, ws_url):
    assert await frames(await net.connect(f"{ws_url}/fragments"), 1) == [b'{"a":"b"}']


async def test_a_ping_is_answered_with_its_own_payload(net, ws_url):
    socket = await net.connect(f"{ws_url}/ping")
    assert await frames(socket, 1) == [b"ponged"]
    assert Venue.made[0].pongs == [b"1700000000"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/endless", "fragmented message grew beyond"),
        ("/giant", "connection lost|a frame of 8388609 bytes"),
        ("/flood", "receive queue full: 50 frames"),
        ("/bytes", "receive queue full: 2 frames, 120000 bytes"),
        ("/bye", r"code 1008 .*too many"),
        ("/drop", "connection lost"),
    ],
)
async def test_a_connection_ends_with_its_reason_after_what_came_before(net, ws_url, path, reason):
    socket = await net.connect(ws_url + path)
    if path == "/giant":
        await socket.send(b"go")
    got: list = []

    async def read_all() -> None:
        while True:
            await asyncio.sleep(0.05)  # let the frames arrive before anybody reads
            got.extend(await socket.receive())

    with pytest.raises(Disconnected, match=reason) as error:
        await asyncio.wait_for(read_all(), 5)
    assert len(got) == {"/flood": 50, "/bytes": 2, "/bye": 1, "/drop": 1}.get(path, 0)
    assert "\x1b" not in str(error.value)


async def test_a_cancelled_receive_takes_nothing_away(net, ws_url):
    socket = await net.connect(f"{ws_url}/echo")
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.receive(), 0.01)
    await socket.send(b"x")
    assert await frames(socket, 1) == [b"heard x"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/http/451/x", GeoBlocked),
        ("/http/403/your+country", GeoBlocked),
        ("/http/403/forbidden", Throttled),
        ("/http/429/x", Throttled),
        ("/http/418/x", Banned),
        ("/http/404/x", Refused),
        ("/http/503/x", Unreachable),
        ("/moved", Refused),
    ],
)
async def test_a_refused_handshake_has_its_fate(net, ws_url, path, kind):
    with pytest.raises(kind) as error:
        await net.connect(ws_url + path)
    assert type(error.value) is kind
    if isinstance(error.value, Throttled):
        assert error.value.wait_ms == 9_000


def test_what_a_handshake_answer_means():
    country = b"configured to block access from your country"
    assert type(handshake_fate("u", 403, {}, country)) is GeoBlocked
    assert handshake_fate("u", 429, {"retry-after": "soon"}, b"").wait_ms == 60_000


async def test_nobody_listening_is_unreachable(net):
    with pytest.raises(Unreachable):
        await net.connect(f"ws://127.0.0.1:{free_port()}/x")


async def test_a_handshake_that_is_never_answered_is_unreachable(net):
    async def mute(reader, writer):
        await reader.read(1)
        await asyncio.sleep(5)
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable, match="no connection within 50 ms"):
        await net.connect(f"ws://127.0.0.1:{port}/x", timeout_ms=50)
    server.close()


async def test_a_server_that_cannot_prove_itself_is_unreachable(net):
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Unreachable):
        await net.connect(f"wss://127.0.0.1:{port}/x")
    with pytest.raises(Unreachable):
        await net.request("GET", f"https://127.0.0.1:{port}/x")
    server.close()


# ── What is said ──


@pytest.fixture
async def doors():
    """Servers that end every conversation in their own way: name → port."""

    async def mute(reader, writer):
        writer.close()

    async def cut(reader, writer):
        await reader.read(10)
        writer.transport.abort()

    async def half(reader, writer):
        await reader.read(10)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await writer.drain()
        writer.close()

    async def ssh(reader, writer):
        await reader.read(10)
        writer.write(b"SSH-2.0 hello\r\n\r\n")
        await writer.drain()
        writer.close()

    servers = {how.__name__: await asyncio.start_server(how, "127.0.0.1", 0) for how in (mute, cut, half, ssh)}
    yield {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    for server in servers.values():
        server.close()


async def said(net, url: str) -> str:
    """The error's words, without the URL that they begin with."""
    ask = net.connect(url) if url.startswith("ws") else net.request("GET", url)
    with pytest.raises(Unreachable) as error:
        await ask
    words = str(error.value)
    assert words.startswith(url.partition("?")[0] + ": ")
    assert not re.search(r"[A-Z][a-z]+[A-Z]\w*|Errno|ssl:|_ssl|secret", words), words  # no class of a library, nothing of the query
    return words.removeprefix(url.partition("?")[0] + ": ")


@pytest.mark.parametrize("scheme", ["http", "ws"])
async def test_why_nobody_answers_is_said_in_words(net, doors, scheme):
    port = free_port()
    assert await said(net, f"{scheme}://127.0.0.1:{port}/x?secret=1") == f"127.0.0.1:{port} refuses the connection"
    assert await said(net, f"{scheme}://localhost:{port}/x") == f"localhost:{port} refuses the connection"
    assert (await said(net, f"{scheme}s://nobody.invalid/x")).startswith("the name nobody.invalid ")
    closed = r"127\.0\.0\.1:\d+ closed the connection (in the middle|without an answer)"
    for how in ("mute", "cut"):
        assert re.fullmatch(closed, await said(net, f"{scheme}://127.0.0.1:{doors[how]}/x"))
    assert re.fullmatch(closed, await said(net, f"{scheme}s://127.0.0.1:{doors['mute']}/x"))
    assert await said(net, f"{scheme}://127.0.0.1:{doors['ssh']}/x") == f"127.0.0.1:{doors['ssh']} does not answer in HTTP"
    tls = f"TLS with 127.0.0.1:{doors['ssh']} failed: the other side does not speak TLS"
    assert await said(net, f"{scheme}s://127.0.0.1:{doors['ssh']}/x") == tls


async def test_an_answer_that_ends_in_the_middle_says_so(net, doors):
    url = f"http://127.0.0.1:{doors['half']}/x"
    assert await said(net, url) == f"127.0.0.1:{doors['half']} closed the connection in the middle of its answer"


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_a_certificate_that_is_not_accepted_is_said_with_the_reason(net, scheme, tmp_path):
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=self_signed(tmp_path))
    port = server.sockets[0].getsockname()[1]
    reason = "its certificate is not accepted: self-signed certificate"
    assert await said(net, f"{scheme}://127.0.0.1:{port}/x") == f"TLS with 127.0.0.1:{port} failed: {reason}"
    server.close()


def self_signed(folder) -> ssl.SSLContext:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    file = folder / "both.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.sign(key, hashes.SHA256()).public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "there is no way to h:1: network is unreachable"),
        (OSError(errno.ETIMEDOUT, "x"), "h:1 does not answer in time"),
        (TimeoutError(), "h:1 does not answer in time"),
        (OSError(errno.EMFILE, "x"), "h:1: too many open files"),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"), "h:1 refuses the connection"),
        (sockets.gaierror(sockets.EAI_AGAIN, "x"), "the name h cannot be looked up now: no name server answers"),
        (BrokenPipeError(), "h:1 closed the connection in the middle"),
        (asyncio.IncompleteReadError(b"", 1), "h:1 closed the connection in the middle of its answer"),
        (ssl.SSLError(), "TLS with h:1 failed: no handshake"),
        (OSError(), "h:1: 'the connection failed'"),
    ],
)
def test_what_seldom_happens_is_said_in_words_too(error, words):
    assert cause_of(error, "h:1") == words


def test_a_place_is_host_and_port():
    assert place_of("https://api.binance.com/api/v3/time?x=1") == "api.binance.com:443"
    assert place_of("wss://[::1]:7/ws") == "[::1]:7"
    assert place_of("rubbish") == "?:?"


async def test_ccxt_says_it_in_the_same_words():
    from ccxt.base.errors import ExchangeError, ExchangeNotAvailable

    async def ask(url: str, kind: type[Exception]):
        try:
            async with aiohttp.ClientSession() as http, http.get(url):
                pass
        except aiohttp.ClientError as error:
            raise kind(f"kraken GET {url}") from error

    port = free_port()
    for kind in (ExchangeNotAvailable, ExchangeError):
        with pytest.raises(Unreachable) as told:
            await asked("kraken", "ticker", ask(f"http://127.0.0.1:{port}/0/public?secret=1", kind))
        assert str(told.value) == f"kraken ticker: 127.0.0.1:{port} refuses the connection"


async def test_the_system_clock_is_utc_now():
    clock = SystemClock()
    assert abs(clock.now_ns() - time.time_ns()) < 1_000_000_000
    await clock.sleep(0)
