"""The emulator over TLS, and what it says when it cannot serve."""

from __future__ import annotations

import ssl
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_parts import Said, emulated

from faults.certificates import certified

Zvt = Callable[..., Said]


def test_with_a_certificate_it_serves_https_and_wss(tmp_path: Path) -> None:
    cert, key = certified(tmp_path)
    with emulated("market", "--exchange", "binance,okx", "--tls-cert", str(cert), "--tls-key", str(key)) as place:
        assert place["ws_url"].startswith("wss://127.0.0.1:")
        for told in place["exchanges"].values():  # type: ignore[attr-defined]
            trusted = ssl.create_default_context(cafile=str(cert))
            with urllib.request.urlopen(f"{told['rest_url']}/emulator/status", context=trusted, timeout=10) as answer:
                assert b'"mode":"market"' in answer.read()


def test_what_tls_lacks_is_said(zvt: Zvt, tmp_path: Path) -> None:
    cert, key = certified(tmp_path)
    script = tmp_path / "tls.toml"
    script.write_text('[[fault]]\nkind = "cut"\n\n[[fault]]\nkind = "tls"\n')
    ports = ("--rest-port", "0", "--ws-port", "0")
    for options, said in (
        (("--tls-cert", str(cert)), "both a certificate and its key"),
        (("--tls-key", str(key)), "both a certificate and its key"),
        (("--tls-cert", str(tmp_path / "none.pem"), "--tls-key", str(key)), "none.pem' does not exist"),
        (("--faults", str(script)), "fault 2 (tls) at binance needs TLS: serve with a certificate"),
    ):
        done = zvt("emulator", "market", *ports, *options)
        assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("at", ["0s", "1s"])
def test_a_fault_that_this_exchange_cannot_have_ends_it_with_its_reason(zvt: Zvt, tmp_path: Path, at: str) -> None:
    script = tmp_path / "books.toml"
    script.write_text(f'[[fault]]\nat = "{at}"\nkind = "restart_books"\n')
    done = zvt("emulator", "market", "--rest-port", "0", "--ws-port", "0", "--faults", str(script))
    assert (done.code, "never restarts" in done.err) == (2, True), done.err
