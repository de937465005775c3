"""What only one process may do at a time, divided fairly among those that are there: shards are taken, renewed, given away, lost.

Nothing here reads the wall clock: ends are the database's to judge, and how long our own knowledge holds is counted in time that also
passes while this process stands still.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from zvt_crypto.domain.errors import GaveUp, StoreUnavailable
from zvt_crypto.engine.shares import divide
from zvt_crypto.ports import Clock, Lease, LeaseState, Observer

PROCESS = "process:"


def steady_s() -> float:
    """Seconds that pass evenly, also while the machine sleeps where the system counts that."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class LeaseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`ttl_s`: how long a lease holds without being renewed. `settle_s`: how long a new process looks who else begins. `stop_s`: how long
    the work on a shard may take to end; what waits for Redis is given ten seconds of it."""

    ttl_s: float = 5.0
    renew_s: float = 1.5
    settle_s: float = 0.25
    stop_s: float = 20.0


class Held:
    """A lease of ours. `token` is the epoch of what is published under it."""

    def __init__(self, name: str, token: int, until_s: float, steady: Callable[[], float]) -> None:
        self.name = name
        self.token = token
        self.is_lost = False
        self._until_s = until_s
        self._steady = steady

    def may_publish(self) -> bool:
        """Whether it is ours for all that can be known now. False after the process stood still for so long that another may hold it: until
        the database has been asked again. A database that is away changes nobody's lease."""
        return not self.is_lost and self._steady() < self._until_s

    def trust(self, until_s: float) -> None:
        """The database was asked, and did not say that it is lost."""
        self._until_s = max(self._until_s, until_s)


Work = Callable[[Held], Awaitable[None]]


class LeaseKeeper:
    """`run` takes this process's fair share of `names` and runs `work` for each, until cancelled; then it lets go of all.

    `work` is cancelled when its shard goes to another process, and given away only once it has ended; when the lease is lost,
    `held.is_lost` says so first. `group`: processes that divide the same names by the same settings.
    """

    def __init__(
        self,
        leases: Lease,
        group: str,
        names: Sequence[str],
        holder: str,
        work: Work,
        clock: Clock,
        observer: Observer,
        options: LeaseOptions | None = None,
        *,
        steady: Callable[[], float] = steady_s,
    ) -> None:
        self.held: dict[str, Held] = {}
        self.asked_s: float | None = None  # when the database answered last
        self._leases = leases
        self._prefix = f"{PROCESS}{group}:"
        self._names = tuple(names)
        self._holder = holder
        self._work = work
        self._clock = clock
        self._observer = observer
        self._options = options or LeaseOptions()
        self._steady = steady
        self._take_after_s = 0.0
        self._presence: Held | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._giving: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Raises GaveUp where the work of a shard cannot go on."""
        try:
            await self._join()
            await self._clock.sleep(self._options.settle_s)
            while True:
                began_s = self._steady()
                await self._turn()
                self._raise_failed()
                await self._clock.sleep(max(0.05, self._options.renew_s - (self._steady() - began_s)))
        finally:
            await self._leave()

    @property
    def is_away(self) -> bool:
        """Whether the database has not answered for longer than a lease holds."""
        return self.asked_s is None or self._steady() - self.asked_s > self._options.ttl_s

    async def _join(self) -> None:
        """Be seen by the others, before anything is taken."""
        while self._presence is None:
            try:
                await self._leases.sweep(PROCESS)
                self._presence = await self._claim(self._prefix + self._holder)
            except StoreUnavailable as error:
                self._observer.note("warning", "leases_wait", reason=str(error))
                await self._clock.sleep(self._options.renew_s)

    async def _claim(self, name: str) -> Held | None:
        asked_s = self._steady()
        token = await self._leases.acquire(name, self._holder, self._options.ttl_s)
        self.asked_s = self._steady()
        return None if token is None else Held(name, token, asked_s + self._options.ttl_s, self._steady)

    async def _turn(self) -> None:
        """Renew, then look who is there and what is due."""
        if not await self._renew():
            return
        try:
            states = [state for state in await self._leases.states() if state.left_s > 0]
            await self._balance(states)
        except StoreUnavailable as error:
            self._tell_away(error)

    async def _renew(self) -> bool:
        """Whether the database answered."""
        presence = [self._presence] if self._presence is not None else []
        held = {one.name: one for one in [*self.held.values(), *presence]}
        asked_s = self._steady()
        try:
            kept = await self._leases.renew({name: one.token for name, one in held.items()}, self._holder, self._options.ttl_s)
        except StoreUnavailable as error:
            for one in held.values():
                one.trust(asked_s + self._options.ttl_s)
            self._tell_away(error)
            return False
        self.asked_s = self._steady()
        for name, one in held.items():
            if name in kept:
                one.trust(asked_s + self._options.ttl_s)
            else:
                self._lose(one)
        if self._presence is None:
            await self._join()
        self._observer.gauge("leases_held", len(self.held))
        return True

    def _lose(self, one: Held) -> None:
        one.is_lost = True
        if one is self._presence:
            self._presence = None
            return
        self._observer.count("leases_lost")
        self._observer.note("warning", "lease_lost", name=one.name, token=one.token)
        self._give(one)

    async def _balance(self, states: Sequence[LeaseState]) -> None:
        members = {s.holder for s in states if s.name.startswith(self._prefix)} | {self._holder}
        holders = {s.name: s.holder for s in states if not s.name.startswith(PROCESS)}
        take, give = divide(self._names, self._holder, members, holders)
        for name in give:
            if name in self.held and not self._giving:
                self._observer.note("info", "lease_given", name=name)
                self._give(self.held[name])
        for name in take if self._steady() >= self._take_after_s else ():
            if name not in self.held and (one := await self._claim(name)) is not None:
                self._observer.note("info", "lease_taken", name=name, token=one.token)
                self.held[name] = one
                self._tasks[name] = asyncio.create_task(self._worked(one), name=name)

    async def _worked(self, one: Held) -> None:
        await self._work(one)

    def _give(self, one: Held) -> None:
        """End its work, then let go. Renewed meanwhile."""
        if one.name not in self._giving:
            self._giving[one.name] = asyncio.create_task(self._given(one), name=f"give {one.name}")

    async def _given(self, one: Held) -> None:
        task = self._tasks.get(one.name)
        while task is not None and not task.done():
            task.cancel()  # again, where a library took the first one for something else
            await asyncio.wait({task}, timeout=self._options.stop_s)
        self._tasks.pop(one.name, None)
        self.held.pop(one.name, None)  # first, since renewing what was let go would take it back
        if not one.is_lost:
            await self._release(one)
        self._giving.pop(one.name, None)

    async def _release(self, one: Held) -> None:
        try:
            await self._leases.release(one.name, self._holder, one.token)
        except StoreUnavailable as error:  # then it runs out
            self._observer.note("warning", "lease_not_released", name=one.name, reason=str(error))

    def _raise_failed(self) -> None:
        """Work that has ended by itself ends us: nobody would do it."""
        for name, task in self._tasks.items():
            if task.done() and name not in self._giving:
                task.result()
                raise GaveUp(f"the work of {name} has ended")

    async def _leave(self) -> None:
        """All work ends at once, then all is let go, so that others need not wait for the end of a lease."""
        for one in list(self.held.values()):
            self._give(one)
        while self._giving:
            await asyncio.wait(set(self._giving.values()), timeout=self._options.renew_s)
            if self.held:
                await self._renew()
        if self._presence is not None:
            await self._release(self._presence)

    def _tell_away(self, error: StoreUnavailable) -> None:
        """What ran out while the database was away is its holder's still, who may come to renew it later than we come to look."""
        self._take_after_s = self._steady() + self._options.ttl_s
        self._observer.count("leases_not_renewed")
        self._observer.note("warning", "leases_not_renewed", reason=str(error))
