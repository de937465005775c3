"""`storage`: what is stored in which form, and the work of policies: pack, forget, archive."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from zvt_crypto.cli import exits
from zvt_crypto.cli.database import server_url
from zvt_crypto.cli.out import note, print_json, print_table
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import parse_range
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.time import NS_PER_DAY, to_rfc3339

if TYPE_CHECKING:
    from zvt_crypto.stores.postgres.policies import Policy, Target
    from zvt_crypto.stores.postgres.pool import Pool
    from zvt_crypto.stores.postgres.retain import Loss
    from zvt_crypto.stores.postgres.status import StorageStatus

SHOWN_SYMBOLS = 20


def run_status(settings: Settings, *, as_json: bool) -> int:
    """Print rows and bytes of every table in all forms, policies, and what the server can do."""

    async def go() -> StorageStatus:
        from zvt_crypto.stores.postgres.status import read_status

        async with _open(settings) as pool:
            return await read_status(pool)

    found = run(go)
    if as_json:
        features = found.features._asdict() | {"compresses": found.features.compresses, "cold_form": found.features.cold_form}
        policies = [each._asdict() for each in found.policies]
        print_json(msgspec.to_builtins(found) | {"features": features, "policies": policies})
        return exits.OK
    columns = ["target", "hot_rows", "hot_bytes", "partitions", "cold_rows", "cold_bytes", "archived_rows", "archived_bytes"]
    print_table([msgspec.to_builtins(each) for each in found.tables], columns)
    print(f"\ndatabase        {found.database_bytes} bytes")
    print(f"cold form       {found.features.cold_form}")
    print(f"server          {_server(found.features)}")
    for policy in found.policies:
        print(f"policy          {_told(policy)}")
    if not found.policies:
        print("policies        none: nothing is packed or forgotten by itself")
    if found.symbols:
        print()
        named = [msgspec.to_builtins(each) for each in found.symbols[:SHOWN_SYMBOLS]]
        print_table(named, ["instrument", "rows", "hot_bytes", "cold_bytes"])
    if len(found.symbols) > SHOWN_SYMBOLS:
        print(f"… and {len(found.symbols) - SHOWN_SYMBOLS} smaller ones: --json shows all")
    return exits.OK


def run_policy(settings: Settings, target: str | None, *, compact: str | None, retain: str | None, as_json: bool) -> int:
    """Set, drop (`off`) or show policies."""
    from zvt_crypto.stores.postgres.hypertables import apply_policies
    from zvt_crypto.stores.postgres.policies import Action, drop_policy, parse_target, read_policies, set_policy

    if target is None and (compact or retain):
        raise BadInput("a policy is one of a target: name it, for example 1m or trade")
    chosen = None if target is None else parse_target(target)
    wanted: list[tuple[Action, int | None]] = []
    if compact is not None:
        wanted.append(("compact", _days(compact)))
    if retain is not None:
        wanted.append(("retain", _days(retain)))

    async def go() -> list[Policy]:
        async with _open(settings) as pool:

            async def work(connection: Any) -> list[Policy]:
                for action, days in wanted:
                    assert chosen is not None
                    await (drop_policy(connection, chosen, action) if days is None else set_policy(connection, chosen, action, days))
                if wanted:
                    await apply_policies(connection)
                return await read_policies(connection)

            return await pool.write("set a policy", work)

    found = [each for each in run(go) if chosen is None or each.target == chosen.table]
    if as_json:
        print_json({"policies": [each._asdict() for each in found], "count": len(found)})
        return exits.OK
    for each in found:
        print(_told(each))
    if not found:
        note("no policy: nothing is packed or forgotten by itself")
    return exits.OK


def run_compact(settings: Settings, targets: Sequence[str], *, days: int | None, as_json: bool) -> int:
    """Pack what policies, or `days`, say."""
    from zvt_crypto.stores.postgres.chunks import PACKABLE
    from zvt_crypto.stores.postgres.compact import Compacted, compact, cutoff_ns
    from zvt_crypto.stores.postgres.policies import TARGETS

    packable = [target for target in TARGETS.values() if target.interval in PACKABLE]
    chosen = _chosen(targets, packable)

    async def go() -> dict[str, Compacted]:
        done = {}
        async with _open(settings) as pool:
            for target, age in await _due(pool, chosen, "compact", days):
                assert target.interval is not None
                done[target.table] = await compact(pool, target.interval, cutoff_ns(time.time_ns(), age), note)
        return done

    done = run(go)
    if as_json:
        print_json({"compacted": {name: each._asdict() for name, each in done.items()}})
        return exits.OK
    for name, each in done.items():
        print(f"{name}: {each.rows} rows packed in {each.chunks} chunks of {each.packed_bytes} bytes, {each.dropped} partitions dropped")
        if each.left:
            print(f"{name}: {each.left} partitions stay: they hold bars that are not final, or were in use")
    if not done:
        note("nothing to do: no policy says so, and no --older-than")
    return exits.OK


def run_unpack(settings: Settings, target: str, start: str | None, end: str | None) -> int:
    """Make rows again of packed klines."""
    from zvt_crypto.stores.postgres.chunks import FAR_NS, PACKABLE
    from zvt_crypto.stores.postgres.compact import uncompact
    from zvt_crypto.stores.postgres.policies import TARGETS

    (chosen,) = _chosen([target], [each for each in TARGETS.values() if each.interval in PACKABLE])
    start_ns, end_ns = parse_range(start, end)

    async def go() -> int:
        assert chosen.interval is not None
        async with _open(settings) as pool:
            return await uncompact(pool, chosen.interval, start_ns or 0, end_ns or FAR_NS)

    print(f"{chosen.table}: {run(go)} rows are unpacked")
    return exits.OK


def run_rollup(settings: Settings) -> int:
    """Make longer klines of what came late or was corrected, and was not rolled by a running platform yet."""

    async def go() -> int:
        from zvt_crypto.cli.connect import Silent
        from zvt_crypto.cli.database import open_database
        from zvt_crypto.services.rollups import Rollups
        from zvt_crypto.venues.clock import SystemClock

        async with open_database(settings) as store:
            return await Rollups(store, SystemClock(), Silent()).catch_up()

    print(f"{run(go)} longer klines were made or corrected")
    return exits.OK


def run_hypertables(settings: Settings, *, aggregates: bool) -> int:
    """Make hypertables of the divided tables while they are empty."""
    from zvt_crypto.stores.postgres.hypertables import apply_policies, make_aggregates, make_hypertables

    async def go() -> tuple[list[str], list[str]]:
        async with _open(settings) as pool:
            made = await make_hypertables(pool)
            await pool.write("apply policies", apply_policies)
            return made, await make_aggregates(pool) if aggregates else []

    made, views = run(go)
    print(f"hypertables: {', '.join(made) or 'none new: a table that holds rows stays as it is'}")
    if aggregates:
        print(f"continuous aggregates: {', '.join(views) or 'none new'}")
    return exits.OK


def run_retain(settings: Settings, targets: Sequence[str], *, days: int | None, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Say what is older than policies, or `days`, allow; and drop it, once that is confirmed."""
    from zvt_crypto.stores.postgres.policies import TARGETS
    from zvt_crypto.stores.postgres.retain import forget, plan_retention

    if days is not None and not targets:
        raise BadInput("--older-than without a target would forget everything: name one, for example 1m or trade")
    chosen = _chosen(targets, list(TARGETS.values()))

    async def plan() -> list[tuple[Loss, int]]:
        async with _open(settings) as pool:
            now_ns, found = time.time_ns(), []
            for target, age in await _due(pool, chosen, "retain", days):
                before_ns = now_ns - age * NS_PER_DAY
                found += [(loss, before_ns) for loss in await plan_retention(pool, target, before_ns)]
            return found

    async def act(planned: list[tuple[Loss, int]]) -> int:
        async with _open(settings) as pool:
            return await forget(pool, planned)

    planned = run(plan)
    _tell_losses([loss for loss, _ in planned], as_json=as_json and dry_run)
    if dry_run or not planned:
        return exits.OK
    _confirm(f"forget {sum(loss.rows for loss, _ in planned)} rows for good?", yes=yes)
    gone = run(lambda: act(planned))
    if as_json:
        print_json({"forgotten_rows": gone, "planned": [loss._asdict() for loss, _ in planned]})
    else:
        print(f"{gone} rows are gone")
    return exits.OK


def run_archive(settings: Settings, target: str, folder: Path, *, days: int | None, remove: bool, yes: bool, as_json: bool) -> int:
    """Whole months (trades, books in full: days) into Parquet files."""
    from zvt_crypto.stores.postgres.archive import Archived, archive_old
    from zvt_crypto.stores.postgres.policies import parse_target

    chosen = parse_target(target)
    if days is None or days < 1:
        raise BadInput("--older-than says how many days old rows must be to be archived: at least 1")
    if remove:
        _confirm(f"remove the rows of {chosen.table} from the database once their files are verified?", yes=yes)

    async def go() -> list[Archived]:
        async with _open(settings) as pool:
            before_ns = time.time_ns() - days * NS_PER_DAY
            return await archive_old(pool, chosen, before_ns, folder, remove=remove, tell=note)

    done = run(go)
    if as_json:
        print_json({"archived": [msgspec.to_builtins(each) for each in done], "count": len(done)})
        return exits.OK
    for each in done:
        print(
            f"{each.target} {to_rfc3339(each.low_ns)}: {each.rows} rows, {each.size_bytes} bytes, {each.removed} removed from the database"
            + (f", {each.differing} differ from the files and stay" if each.differing else "")
        )
    if not done:
        note(f"{chosen.table} holds no whole unit that is so old")
    return exits.OK


def run_verify_archive(folder: Path) -> int:
    """Print what of an archive is not as its manifests say."""
    from zvt_crypto.stores.postgres.archivefolder import verify_archive

    wrong = verify_archive(folder)
    for each in wrong:
        print(each)
    print(f"{len(wrong)} files are wrong" if wrong else "every file is as its manifest says")
    return exits.FAILURE if wrong else exits.OK


def archives_of(settings: Settings, target: str) -> list[str]:
    """Folders into which rows of the target were archived."""
    from zvt_crypto.stores.postgres.archive import archive_places
    from zvt_crypto.stores.postgres.policies import parse_target

    async def go() -> list[str]:
        async with _open(settings) as pool:
            return await archive_places(pool, parse_target(target))

    return run(go)


@contextlib.asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Pool]:
    from zvt_crypto.stores.postgres import migrate, open_store

    async with server_url(settings) as url:
        await migrate(url)
        store = await open_store(url, pool_size=max(2, settings.database.pool_size))  # one to hold a lock, one to work
        try:
            yield store.pool
        finally:
            await store.close()


async def _due(pool: Pool, chosen: Sequence[Target], action: str, days: int | None) -> list[tuple[Target, int]]:
    """Targets with the days that their policy, or the caller, allows them."""
    from zvt_crypto.stores.postgres.policies import read_policies

    if days is not None:
        if days < 1:
            raise BadInput(f"--older-than {days} is less than a day")
        return [(target, days) for target in chosen]
    held = {each.target: each.days for each in await pool.run("read policies", read_policies) if each.action == action}
    return [(target, held[target.table]) for target in chosen if target.table in held]


def _chosen(targets: Sequence[str], possible: Sequence[Target]) -> list[Target]:
    from zvt_crypto.stores.postgres.policies import parse_target

    found = [parse_target(text) for text in targets]
    for target in found:
        if target not in possible:
            raise BadInput(f"{target.table} has no packed form: only {', '.join(each.table for each in possible)} have one")
    return found or list(possible)


def _days(text: str) -> int | None:
    if text == "off":
        return None
    number = text.removesuffix("d")
    if not number.isascii() or not number.isdigit():
        raise BadInput(f"age {shown(text)} is neither a number of days nor off")
    return int(number)


def _confirm(question: str, *, yes: bool) -> None:
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput(f"{question} Nobody can answer here: give --yes")
    import typer

    if not typer.confirm(question):
        raise BadInput("not confirmed: nothing was done")


def _tell_losses(planned: Sequence[Loss], *, as_json: bool) -> None:
    if as_json:
        print_json({"planned": [loss._asdict() for loss in planned], "count": len(planned)})
        return
    for loss in planned:
        print(
            f"{loss.target}: {loss.rows} rows in {loss.size_bytes} bytes ({loss.what} {loss.name}), "
            f"{to_rfc3339(loss.low_ns)} to {to_rfc3339(loss.high_ns)}"
        )
    if not planned:
        note("nothing is older than its policy allows")


def _told(policy: Policy) -> str:
    done = "packed" if policy.action == "compact" else "forgotten"
    return f"{policy.target} is {done} after {policy.days} days"


def _server(features: Any) -> str:
    if not features.has_timescale:
        there = f", TimescaleDB {features.available} could be created" if features.available else ""
        return f"PostgreSQL {features.server}, no TimescaleDB{there}"
    able = "compression, continuous aggregates, retention" if features.compresses else "hypertables only"
    return f"PostgreSQL {features.server}, TimescaleDB {features.version} ({features.license} edition: {able})"
