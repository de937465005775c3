"""The platform over wss: TLS that fails for a while, and ports at which nobody listens; all is back, and nothing is missing."""

from __future__ import annotations

import time

import pytest

from faults.certificates import certified
from faults.outages import Outcome, judge
from faults.venue_live import VenueLive
from zvt_crypto.emulator.script import read_script, set_up


@pytest.mark.parametrize("kind", ["tls", "refuse"])
async def test_after_three_seconds_without_a_connection_nothing_is_missing(kind, tmp_path, monkeypatch):
    files = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    live = VenueLive("binance", 1, "pair", is_virtual=False, tls=files)
    made = Outcome(live.venue, live.which, live.seed, [kind])
    script = read_script(f'[[fault]]\nkind = "{kind}"\nfor = "3s"\nwhat = "all"\n[[fault]]\nkind = "cut"\n')
    async with live.running():
        await live.sleep(3.0)
        assert live.dialect.sessions
        set_up(script, live.dialect, time.time_ns())
        live.now()
        await live.sleep(1.5)
        assert not live.dialect.sessions
        while not live.dialect.sessions:
            await live.sleep(0.05)
        assert await live.book_equals()
        await live.sleep(1.0)
        await live.platform.drained()
    judge(live, made)
    assert made.wrong == []
    assert made.lost == 0
    assert made.trades > 100
