"""Health: states, reasons and ages, on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.telemetry import health as health_room
from zvt_crypto.telemetry.health import MOST_CHECKS, Check, Health


class HandClock:
    def __init__(self) -> None:
        self.ns = 1_000_000_000_000

    def now_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("health does not wait by the clock")


async def test_without_checks_all_is_well() -> None:
    assert (await Health(HandClock()).ready()).status == "ok"


async def test_the_worst_state_is_the_whole_state() -> None:
    health = Health(HandClock())
    health.report("b", "ok")
    health.report("a", "degraded", "slow")
    assert [check.name for check in (await health.ready()).checks] == ["a", "b"]
    assert (await health.ready()).status == "degraded"
    health.report("c", "failed", "gone")
    assert (await health.ready()).status == "failed"
    health.forget("c")
    assert (await health.ready()).status == "degraded"


async def test_a_check_knows_how_old_it_is_and_how_long_the_state_has_stood() -> None:
    clock = HandClock()
    health = Health(clock)
    health.report("feed", "degraded", "lag")
    clock.ns += 500 * NS_PER_MS
    health.report("feed", "degraded", "more lag")
    clock.ns += 20 * NS_PER_MS
    assert (await health.ready()).checks == [Check("feed", "degraded", "more lag", age_ms=20, since_ms=520)]
    assert health.uptime_ms() == 520


async def test_a_report_that_is_not_renewed_in_time_has_failed() -> None:
    clock = HandClock()
    health = Health(clock)
    health.report("recorder", "ok", max_age_ms=1_000)
    clock.ns += 1_000 * NS_PER_MS
    assert (await health.ready()).status == "ok"
    clock.ns += 1 * NS_PER_MS
    (check,) = (await health.ready()).checks
    assert (check.state, check.reason) == ("failed", "no report for 1001 ms; the last was ok: ")


async def test_a_probe_is_asked_once_a_second_however_often_strangers_ask() -> None:
    clock, asked = HandClock(), 0
    health = Health(clock)

    async def probe() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise StoreUnavailable("no database")

    health.watch("database", probe)
    for _ in range(5):
        assert (await health.ready()).status == "ok"
    assert asked == 1
    clock.ns += 1_000 * NS_PER_MS
    (check,) = (await health.ready()).checks
    assert (check.state, check.reason) == ("failed", "store_unavailable: no database")


async def test_a_probe_that_never_answers_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_room, "PROBE_TIMEOUT_S", 0.01)
    health = Health(HandClock())
    health.watch("database", asyncio.Event().wait)  # type: ignore[arg-type]
    (check,) = (await health.ready()).checks
    assert (check.state, check.reason) == ("failed", "no answer within 0.01 s")


async def test_checks_are_bounded() -> None:
    health = Health(HandClock())
    for i in range(MOST_CHECKS + 10):
        health.report(f"part {i}", "ok")
    assert len((await health.ready()).checks) == MOST_CHECKS
