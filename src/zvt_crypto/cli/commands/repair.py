"""`repair`: close holes from the exchanges, and report each."""

from __future__ import annotations

from zvt_crypto.cli import exits
from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.each import do_each, of_exchange
from zvt_crypto.cli.fetch import known_instruments
from zvt_crypto.cli.out import print_json
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.teller import Teller
from zvt_crypto.domain.time import INTERVALS, parse_interval, to_rfc3339
from zvt_crypto.services.backfill import Backfill
from zvt_crypto.services.late import LateBars
from zvt_crypto.services.repair import Repaired, repair
from zvt_crypto.services.rollups import Rollups
from zvt_crypto.venues.clock import SystemClock


def run_repair(settings: Settings, *, interval: str | None, as_json: bool) -> int:
    """Each exchange and each symbol of the settings. The exit status of the first exchange that failed; 1 where a hole stays open."""
    intervals = INTERVALS if interval is None else (parse_interval(interval),)
    done: list[Repaired] = []

    def work(exchange: str) -> None:
        chosen, clock, told = of_exchange(settings, exchange), SystemClock(), Teller()

        async def go() -> None:
            async with open_database(chosen) as store, open_connector(chosen, exchange, observer=told) as connector:
                found = await known_instruments(store, connector, chosen.ingest.symbols, told)
                tell = (lambda _: None) if as_json else _print
                done.extend(await repair(Backfill(connector, store, clock, told), store, [i.id for i in found], intervals, tell))
                await LateBars([connector], store, clock, told).catch_up()
                await Rollups(store, clock, told).catch_up()

        run(go)

    failed, code = do_each(settings.ingest.exchanges, work)
    left = sum(not one.closed for one in done)
    if as_json:
        print_json({"holes": [_told(one) for one in done], "closed": len(done) - left, "open": left, "failed": failed})
    else:
        print(f"{len(done)} holes: {len(done) - left} closed, {left} open")
    return code or (exits.FAILURE if left else exits.OK)


def _print(one: Repaired) -> None:
    rows = "" if one.rows is None else f", {one.rows} rows"
    outcome = f"closed{rows}" if one.closed else f"open{rows}: {one.reason}"
    print(f"{one.instrument}  {one.stream}  {to_rfc3339(one.start_ns)} to {to_rfc3339(one.end_ns)}  {outcome}", flush=True)


def _told(one: Repaired) -> dict[str, object]:
    span = {"start": to_rfc3339(one.start_ns), "end": to_rfc3339(one.end_ns)}
    head = {"instrument": one.instrument, "stream": one.stream}
    return head | span | {"closed": one.closed, "rows": one.rows, "reason": one.reason or None}
