"""Health: is the process alive, and can it do its job. Named checks with a state, a reason and an age."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import ZvtCryptoError
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import Clock

State = Literal["ok", "degraded", "failed"]
RANK: dict[State, int] = {"ok": 0, "degraded": 1, "failed": 2}
Probe = Callable[[], Awaitable[None]]
MOST_CHECKS = 256
PROBE_TIMEOUT_S = 2.0  # a load balancer asks again every few seconds
PROBE_TTL_NS = 1_000 * NS_PER_MS  # however often strangers ask, the database is pinged once a second


class Check(msgspec.Struct, frozen=True):
    """What is known of one part. `age_ms`: how old that knowledge is; `since_ms`: how long the state has stood."""

    name: str
    state: State
    reason: str
    age_ms: int
    since_ms: int


class Readiness(msgspec.Struct, frozen=True):
    """The worst state of all checks, and the checks by name. `failed` means: send no traffic."""

    status: State
    checks: list[Check]


class _Held(msgspec.Struct):
    state: State
    reason: str
    at_ns: int
    since_ns: int
    max_age_ns: int | None = None


class Health:
    """Parts report their state (`report`), or are asked for it (`watch`: a probe that raises a ZvtCryptoError has failed)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._held: dict[str, _Held] = {}
        self._probes: dict[str, Probe] = {}

    def report(self, name: str, state: State, reason: str = "", *, max_age_ms: int | None = None) -> None:
        """The state of a part now. With `max_age_ms`, a report that is not renewed in time counts as failed."""
        now = self._clock.now_ns()
        held = self._held.get(name)
        if held is None and len(self._held) >= MOST_CHECKS:
            return
        since = held.since_ns if held is not None and held.state == state else now
        self._held[name] = _Held(state, reason, now, since, max_age_ms * NS_PER_MS if max_age_ms is not None else None)

    def forget(self, name: str) -> None:
        """The part was taken out on purpose."""
        self._held.pop(name, None)
        self._probes.pop(name, None)

    def watch(self, name: str, probe: Probe) -> None:
        """Ask `probe` whenever readiness is asked for, at most once a second."""
        self._probes[name] = probe

    def uptime_ms(self) -> int:
        """Since this object was made."""
        return (self._clock.now_ns() - self._started_ns) // NS_PER_MS

    async def ready(self) -> Readiness:
        """All checks, probes refreshed."""
        await asyncio.gather(*(self._refresh(name, probe) for name, probe in list(self._probes.items())))
        now = self._clock.now_ns()
        checks = [self._check(name, held, now) for name, held in sorted(self._held.items())]
        worst: State = max((check.state for check in checks), key=RANK.__getitem__, default="ok")
        return Readiness(worst, checks)

    async def _refresh(self, name: str, probe: Probe) -> None:
        held = self._held.get(name)
        if held is not None and self._clock.now_ns() - held.at_ns < PROBE_TTL_NS:
            return
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await probe()
        except TimeoutError:
            self.report(name, "failed", f"no answer within {PROBE_TIMEOUT_S:g} s")
        except ZvtCryptoError as error:
            self.report(name, "failed", f"{error.code}: {error}")
        else:
            self.report(name, "ok")

    @staticmethod
    def _check(name: str, held: _Held, now: int) -> Check:
        age_ms, since_ms = (now - held.at_ns) // NS_PER_MS, (now - held.since_ns) // NS_PER_MS
        if held.max_age_ns is not None and now - held.at_ns > held.max_age_ns:
            return Check(name, "failed", f"no report for {age_ms} ms; the last was {held.state}: {held.reason}", age_ms, since_ms)
        return Check(name, held.state, held.reason, age_ms, since_ms)
