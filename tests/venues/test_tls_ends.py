"""TLS handshakes that the other side ends: told once, in words for people, and no error of anything else is hidden."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable

import pytest
import uvloop

from zvt_crypto.domain.errors import Unreachable
from zvt_crypto.venues import socket
from zvt_crypto.venues.quiet import quieten

# RFC 8446, 6 (and 5.1): a record of type alert (21), fatal (2), and the alert's number.
ALERT = bytes((21, 3, 3, 0, 2, 2))
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
Run = Callable[..., None]


async def refusal(answer: bytes) -> str:
    """What our client says of a server that answers its hello so, and goes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(Unreachable) as found:
            await socket.connect(f"wss://127.0.0.1:{port}/ws", timeout_ms=10_000, tls=ssl.create_default_context(), now_ns=time.time_ns)
        return str(found.value).replace(str(port), "PORT")
    finally:
        server.close()
        await server.wait_closed()


@LOOPS
@pytest.mark.parametrize(
    ("alert", "words"),
    [
        (40, "TLS with 127.0.0.1:PORT failed: the other side refuses the handshake"),
        (70, "TLS with 127.0.0.1:PORT failed: the other side speaks another version of TLS"),
        (80, "TLS with 127.0.0.1:PORT failed: the other side has an error of its own"),
        (112, "TLS with 127.0.0.1:PORT failed: the other side does not know the name that it was called by"),
    ],
)
def test_an_alert_is_told_in_plain_words(run: Run, alert: int, words: str) -> None:
    async def go() -> None:
        assert (await refusal(ALERT + bytes((alert,)))).endswith(words)

    run(go())


@LOOPS
def test_a_handshake_that_ends_bare_is_told_once_and_writes_no_traceback(
    run: Run, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def go() -> None:
        assert (await refusal(b"")).endswith("127.0.0.1:PORT closed the connection in the middle")

    run(go())
    assert (capsys.readouterr().err, caplog.records) == ("", [])


@LOOPS
def test_errors_that_nobody_else_tells_are_still_told(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    contexts = [
        {"message": "SSL handshake failed", "exception": ssl.SSLError("an instance")},
        {"message": "Task exception was never retrieved", "exception": ValueError("nobody asked")},
        {"message": "no exception at all"},
    ]

    async def go() -> None:
        loop = asyncio.get_running_loop()
        quieten(loop)
        for context in contexts:
            loop.call_exception_handler(context)

    with caplog.at_level(logging.ERROR, "asyncio"):
        run(go())
    assert [record.getMessage().splitlines()[0] for record in caplog.records] == [context["message"] for context in contexts]


def test_a_handler_that_stood_before_is_kept_and_wrapped_once() -> None:
    told: list[str] = []

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        quieten(loop)
        ours = loop.get_exception_handler()
        quieten(loop)
        assert loop.get_exception_handler() is ours
        loop.call_exception_handler({"message": "a real one"})
        loop.call_exception_handler({"message": "SSL handshake failed", "exception": ConnectionResetError})

    asyncio.run(go())
    assert told == ["a real one"]
