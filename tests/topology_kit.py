"""Many processes of the product over a Valkey Cluster, one PostgreSQL and an emulated exchange: real ones, ended by their ids."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from valkey_cluster import Cluster, valkey_cluster
from zvt_crypto.stores.postgres import migrate
from zvt_crypto.stores.postgres.embedded import EmbeddedServer
from zvt_crypto.stores.redis.streams import SHARDS as FEED_SHARDS

ZVT_CRYPTO = str(Path(sys.executable).with_name("zvt-crypto"))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "QAAAUSDT", "QAABUSDT", "QAACUSDT")
LISTED = "14"  # instruments of the exchange: the ready-made ones, and pairs of made-up codes
SHARDS = 4


class Process:
    """One process of a role. Its log is a file."""

    def __init__(self, role: str, number: int, folder: Path, env: dict[str, str]) -> None:
        self.role, self.name, self.log = role, f"{role} {number}", folder / f"{role}-{number}.log"
        self.said = folder / f"{role}-{number}.out"
        with self.log.open("ab") as err, self.said.open("ab") as out:
            self.popen = subprocess.Popen([ZVT_CRYPTO, role], env=env, stdout=out, stderr=err, start_new_session=True)

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def is_alive(self) -> bool:
        return self.popen.poll() is None

    def url(self) -> str:
        """Where its REST is, once it says so; "" before."""
        lines = self.said.read_text("utf-8").splitlines()
        return next((line for line in lines if line.startswith("http://")), "")

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.is_alive:
            self.popen.send_signal(how)
        self.popen.wait(30)


class Topology:
    """`start` what is wanted; `kill` what is there; `stop` all."""

    def __init__(
        self, folder: Path, cluster: Cluster, database: EmbeddedServer, place: dict[str, Any], ingest_options: dict[str, str]
    ) -> None:
        self.folder, self.cluster, self.database = folder, cluster, database
        self.processes: list[Process] = []
        self.place = place
        self._options = ingest_options
        self._numbers = 0

    def start(self, role: str) -> Process:
        self._numbers += 1
        clean = {name: value for name, value in os.environ.items() if not name.startswith("ZVT_CRYPTO")}
        process = Process(
            role,
            self._numbers,
            self.folder,
            clean
            | {
                "ZVT_CRYPTO__DATA_DIR": str(self.folder / "data"),
                "ZVT_CRYPTO__DATABASE__URL": self.database.url,
                "ZVT_CRYPTO__DATABASE__POOL_SIZE": "4",
                "ZVT_CRYPTO__LIVE__REDIS": self.cluster.url,
                "ZVT_CRYPTO__BINANCE__REST": self.place["rest_url"],
                "ZVT_CRYPTO__BINANCE__WS": self.place["ws_url"],
                "ZVT_CRYPTO__BINANCE__MARKETS": "spot",
                "ZVT_CRYPTO__INGEST__SYMBOLS": ",".join(SYMBOLS),
                "ZVT_CRYPTO__INGEST__SHARDS": str(SHARDS),
                "ZVT_CRYPTO__API__PORT": "0",
                "ZVT_CRYPTO__WS__PORT": "0",
                "ZVT_CRYPTO__HEALTH__PORT": "0",
            }
            | self._options,
        )
        self.processes.append(process)
        return process

    def living(self, role: str) -> list[Process]:
        return [process for process in self.processes if process.role == role and process.is_alive]

    def ready_urls(self) -> list[str]:
        """The APIs that what stands before them would ask: alive and ready."""
        urls = [process.url() for process in self.living("api")]
        return [url for url in urls if url and ask_ready(url)]

    def stop(self) -> None:
        for process in self.processes:
            if process.is_alive:
                process.popen.kill()
                process.popen.wait(10)

    def complaints(self) -> str:
        """The last lines of every log, for a test that failed."""
        return "\n".join(
            f"── {p.name} ({p.popen.returncode})\n" + "\n".join(p.log.read_text("utf-8").splitlines()[-8:]) for p in self.processes
        )

    async def sql(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.database.url, server_settings={"timezone": "UTC"})


LIVE = "kdata?symbol={symbol}&interval=1m&limit=1", "ticker?symbol={symbol}"
STORED = "kdata?symbol={symbol}&interval=1m&limit=500"


class Prober:
    """Asks again and again, from a thread of its own, as what stands before the APIs does: one after the other, those that are ready.

    Two of three questions are about what is live, the third about what is stored. An answer is right where it is whole and in time.
    """

    def __init__(self, urls: Callable[[], list[str]], symbol: str, every_s: float = 0.1, timeout_s: float = 2.0) -> None:
        self.asked: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        self.wrong: list[tuple[float, str, str]] = []  # when, what was asked about, what was told
        self._urls, self._every_s, self._timeout_s = urls, every_s, timeout_s
        self._questions = [("live", path.format(symbol=symbol)) for path in LIVE] + [("stored", STORED.format(symbol=symbol))]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Prober:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(10)

    def percent(self, about: str) -> float:
        """Of the questions about that, how many were answered rightly."""
        return round(100 * self.right[about] / max(1, self.asked[about]), 3)

    def _run(self) -> None:
        turn = 0
        while not self._end.wait(self._every_s):
            turn += 1
            about, path = self._questions[turn % len(self._questions)]
            self.asked[about] += 1
            began = time.monotonic()
            refused = self._answer(path, turn)
            if refused is None:
                self.right[about] += 1
            else:
                self.wrong.append((began, about, refused))

    def _answer(self, path: str, turn: int) -> str | None:
        refused: str | None = "no API is ready"
        urls = self._urls()
        first = turn % max(1, len(urls))
        for url in [*urls[first:], *urls[:first]]:  # one that refuses is no end
            refused = ask(f"{url}/api/v1/crypto/{path}", self._timeout_s)
            if refused is None:
                break
        return refused


def ask_ready(url: str) -> bool:
    """Whether the process says that it can do its job."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=2.0):
            return True
    except OSError:
        return False


def ask(url: str, timeout_s: float = 2.0) -> str | None:
    """Why the answer is not right, None where it is."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:
            body = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read()[:200]!r}"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None if isinstance(body, dict) and (body.get("data") or body.get("price")) else f"empty: {body}"


@contextlib.contextmanager
def topology(*, rate: float = 4.0, seed: int = 1, **options: str) -> Iterator[Topology]:
    """The exchange, the cluster and the database, running; processes are started by the caller, and everything ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="zvt-topology-"))
    folder.chmod(0o755)
    command = [ZVT_CRYPTO, "emulator", "market", "-s", LISTED, "--rate", str(rate), "--seed", str(seed)]
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        database = stack.enter_context(EmbeddedServer(folder / "database"))
        cluster = stack.enter_context(valkey_cluster())
        exchange = stack.enter_context(
            subprocess.Popen(
                [*command, "--rest-port", "0", "--ws-port", "0", "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        )
        assert exchange.stdin is not None
        assert exchange.stdout is not None
        stack.callback(exchange.stdin.close)
        with ThreadPoolExecutor(1) as own:  # the caller's loop may run
            own.submit(lambda: asyncio.run(migrate(database.url))).result()
        made = Topology(folder, cluster, database, json.loads(exchange.stdout.readline()), options)
        try:
            yield made
        finally:
            made.stop()


class Verdict(NamedTuple):
    """What became of the exchange's trades. `unflagged`: missing, and in no gap."""

    trades: int
    missing: int
    unflagged: int
    differing: int


async def settled(place: Topology, within_s: float = 60.0) -> None:
    """Return once every symbol's trades come to the database, every shard is held by a process that lives, and the APIs are ready."""
    sql = await place.sql()
    try:
        async with asyncio.timeout(within_s):
            before = {}
            while True:
                rows = await sql.fetch("SELECT instrument_id, max(event_time) FROM trade GROUP BY instrument_id")
                now = {row[0]: row[1] for row in rows}
                rows = await sql.fetch(
                    "SELECT name, split_part(holder, ':', 2)::int FROM lease WHERE until > now() AND name NOT LIKE 'process:%'"
                )
                living = {process.pid for process in place.processes if process.is_alive}
                held = {name for name, pid in rows if pid in living}
                grown = len(now) == len(SYMBOLS) and all(name in before and at > before[name] for name, at in now.items())
                if grown and len(held) == SHARDS + FEED_SHARDS and place.ready_urls():
                    return
                before = before if len(before) == len(SYMBOLS) else now
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(place.complaints()) from None
    finally:
        await sql.close()


async def answering(place: Topology, symbol: str, within_s: float = 120.0) -> None:
    """Return once every API answers the prober's questions: the first minute of klines has closed then."""
    async with asyncio.timeout(within_s):
        for path in (*LIVE, STORED):
            for process in place.living("api"):
                url = f"{process.url()}/api/v1/crypto/{path.format(symbol=symbol)}"
                while await asyncio.to_thread(ask, url) is not None:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)


async def compared(place: Topology) -> Verdict:
    """End the ingest processes, wait until all that they published is stored, and hold it against the exchange's own trades."""
    for process in place.living("ingest"):
        process.popen.send_signal(signal.SIGTERM)
    for process in place.living("ingest"):
        process.popen.wait(30)
    sql = await place.sql()
    try:
        count, still = -1, 0
        while still < 8:  # 2 s without a new row
            now = await sql.fetchval("SELECT count(*) FROM trade")
            count, still = now, still + 1 if now == count else 0
            await asyncio.sleep(0.25)
        rows = await sql.fetch(
            "SELECT i.native_symbol, t.venue_trade_id, t.price, t.quantity FROM trade t JOIN instrument i USING (instrument_id)"
        )
        gaps = await sql.fetch(
            "SELECT i.native_symbol, first_id, last_id FROM gap JOIN instrument i USING (instrument_id) WHERE filled_from IS NULL"
        )
    finally:
        await sql.close()
    stored: dict[str, dict[int, tuple[float, float]]] = {}
    for symbol, trade_id, price, quantity in rows:
        assert int(trade_id) not in stored.setdefault(symbol, {}), f"{symbol} {trade_id} is there twice"
        stored[symbol][int(trade_id)] = (price, quantity)
    missing = unflagged = differing = 0
    for symbol, held in stored.items():
        theirs = trades_of(place, symbol, min(held), max(held))
        lacking = theirs.keys() - held.keys()
        missing += len(lacking)
        flagged = [(first or 0, last or 2**62) for name, first, last in gaps if name == symbol]
        unflagged += sum(not any(first <= number <= last for first, last in flagged) for number in lacking)
        differing += sum(theirs.get(number) != values for number, values in held.items())
    return Verdict(len(rows), missing, unflagged, differing)


def trades_of(place: Topology, symbol: str, first: int, last: int) -> dict[int, tuple[float, float]]:
    """The exchange's own, by its REST."""
    made: dict[int, tuple[float, float]] = {}
    while first <= last:
        url = f"{place.place['rest_url']}/api/v3/historicalTrades?symbol={symbol}&fromId={first}&limit=1000"
        with urllib.request.urlopen(url, timeout=10) as answer:
            page = json.loads(answer.read())
        if not page:
            break
        made |= {row["id"]: (float(row["price"]), float(row["qty"])) for row in page if row["id"] <= last}
        first = page[-1]["id"] + 1
    return made
