"""The command line `zvt-crypto`: what may be said, and nothing else; each command's work is a file in `commands/`."""

from __future__ import annotations

import enum
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from zvt_crypto.cli import exits

app = typer.Typer(
    name="zvt-crypto",
    help="Crypto market data you can trust, from the exchange's wire to your own API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
db = typer.Typer(help="The database's schema: upgrade, downgrade, status.", no_args_is_help=True, rich_markup_mode=None)
pairs = typer.Typer(help="Instruments: what exchanges list.", rich_markup_mode=None)
assets = typer.Typer(help="Assets: the currencies of instruments.", rich_markup_mode=None)
storage = typer.Typer(help="What is stored in which form; pack, forget, archive.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(db, name="db")
app.add_typer(storage, name="storage")
app.add_typer(pairs, name="pairs")
app.add_typer(assets, name="assets")


class Form(enum.StrEnum):
    """How `kdata` writes its rows."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


class Emulation(enum.StrEnum):
    """What the emulator plays."""

    market = "market"
    replay = "replay"


def _whole(text: str | int) -> int:
    """A default comes as the number that it is."""
    if isinstance(text, str) and not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise typer.BadParameter(f"{text!r} is not a whole number")
    return int(text)


def _port(text: str | int) -> int:
    if not 0 <= (port := _whole(text)) <= 65_535:
        raise typer.BadParameter(f"{text!r} is out of range: 0 to 65535")
    return port


def _number(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


WHOLE: Any = {"parser": _whole, "metavar": "<int>"}
PORT: Any = {"parser": _port, "metavar": "<int>"}
NUMBER: Any = {"parser": _number, "metavar": "<float>"}
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Config = Annotated[Path | None, typer.Option("--config", help="Settings file (TOML). [default: the user's config.toml]")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Folder of the embedded database and spool.")]
Exchange = Annotated[str | None, typer.Option("--exchange", "-e", help="Exchange id.")]
Exchanges = Annotated[str | None, typer.Option("--exchange", "-e", help="Exchange ids, separated by commas.")]
Symbol = Annotated[str, typer.Argument(help="Entity id, BTC/USDT, BTC-USDT, btcusdt or the exchange's own.")]
Symbols = Annotated[str | None, typer.Option("--symbols", "-s", help="Symbols, separated by commas.")]
Interval = Annotated[str, typer.Option("--interval", "-i", help="1m 5m 15m 30m 1h 4h 1d 1w 1M")]
Start = Annotated[str | None, typer.Option("--start", help="From this time on: RFC 3339, a date, month or year, or an epoch number.")]
End = Annotated[str | None, typer.Option("--end", help="Up to, and without, this time.")]
Kind = Annotated[str | None, typer.Option(help="pair, perp or future.")]
Status = Annotated[str | None, typer.Option(help="active, suspended, delisted, …")]
At = Annotated[str | None, typer.Option("--at", help="As it was at this time: RFC 3339, or a date (its first midnight, UTC).")]
Revision = Annotated[str, typer.Option(help="A revision that this build knows; `db status` shows the newest.")]
OlderThan = Annotated[int | None, typer.Option("--older-than", **WHOLE, help="Days. [default: what policies say]")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
ApiPort = Annotated[int | None, typer.Option("--api-port", **PORT, help="REST port; 0 takes a free one. [default: 8000]")]
WsPort = Annotated[int | None, typer.Option("--ws-port", **PORT, help="WebSocket port; 0 takes a free one. [default: 8001]")]
Seconds = Annotated[float | None, typer.Option("--seconds", **NUMBER, help="End by itself after so long.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Crypto market data you can trust, from the exchange's wire to your own API."""
    if version:
        from zvt_crypto import __version__

        print(__version__)
        raise typer.Exit


@app.command()
def demo(
    seconds: Annotated[
        float | None, typer.Option("--seconds", **NUMBER, envvar="DEMO_SECONDS", help="End by itself after so long.")
    ] = None,
    symbols: Symbols = None,
    seed: Annotated[int, typer.Option(**WHOLE, help="The synthetic market's seed.")] = 1,
    api_port: ApiPort = None,
    ws_port: WsPort = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """See it all work, without a network.

    A whole exchange, database and platform on this machine, live in the terminal, with checks at the end.
    """
    from zvt_crypto.cli.commands.demo import run_demo

    _end(
        run_demo(
            _settings(config, data_dir, {"api.port": api_port, "ws.port": ws_port}), seconds=seconds, symbols=_names(symbols), seed=seed
        )
    )


@app.command()
def up(
    exchange: Exchanges = None,
    symbols: Symbols = None,
    seconds: Annotated[float | None, typer.Option("--seconds", **NUMBER, help="End by itself after so long.")] = None,
    api_port: ApiPort = None,
    ws_port: WsPort = None,
    view: Annotated[bool, typer.Option("--view/--no-view", help="The live view; otherwise a line every few seconds.")] = True,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Record one or more exchanges live and serve them."""
    from zvt_crypto.cli.commands.up import run_up

    settings = _settings(
        config,
        data_dir,
        {"api.port": api_port, "ws.port": ws_port, "ingest.exchanges": _names(exchange, "exchange"), "ingest.symbols": _names(symbols)},
    )
    _end(run_up(settings, seconds=seconds, view=view))


@app.command()
def ingest(
    exchange: Exchanges = None,
    symbols: Symbols = None,
    seconds: Seconds = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Exchanges to Redis: one of several processes.

    Takes its share of the shards; what another leaves is taken over within seconds. Builds bars and heals gaps, too.
    """
    from zvt_crypto.cli.commands.roles import run_roles

    settings = _settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange"), "ingest.symbols": _names(symbols)})
    _end(run_roles(settings, ("ingest",), seconds=seconds))


@app.command()
def record(seconds: Seconds = None, config: Config = None, data_dir: DataDir = None) -> None:
    """Redis to the database: one of several processes.

    The shards of the feed are divided as those of the exchanges are.
    """
    from zvt_crypto.cli.commands.roles import run_roles

    _end(run_roles(_settings(config, data_dir, {}), ("record",), seconds=seconds))


@app.command()
def api(
    api_port: ApiPort = None,
    ws_port: WsPort = None,
    seconds: Seconds = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """REST and WebSocket, as one of several processes."""
    from zvt_crypto.cli.commands.roles import run_roles

    _end(run_roles(_settings(config, data_dir, {"api.port": api_port, "ws.port": ws_port}), ("api",), seconds=seconds))


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="Captures, in the order of their time.")],
    speed: Annotated[float, typer.Option(**NUMBER, help="1 is the recorded pace, 0 as fast as it is read.")] = 0.0,
    symbols: Symbols = None,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the API meanwhile.")] = False,
    again: Annotated[bool, typer.Option("--again", help="From the first frame, also where an earlier replay stopped midway.")] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Play a capture into a database of its own.

    Through the emulator, real sockets and the whole platform; goes on where an earlier replay was cut.
    """
    from zvt_crypto.cli.commands.replay import run_replay

    settings = _settings(config, data_dir, {})
    _end(run_replay(settings, files, speed=speed, symbols=_names(symbols), serve=serve, again=again, as_json=as_json))


@app.command()
def backfill(
    symbols: Symbols = None,
    interval: Interval = "1m",
    start: Start = None,
    end: End = None,
    exchange: Exchanges = None,
    what: Annotated[str, typer.Option(help="klines, trades, funding, mark, or gaps: heal the holes that are marked.")] = "klines",
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch history into the database.

    Resumable: what is stored is not fetched again.
    """
    from zvt_crypto.cli.commands.backfill import run_backfill

    settings = _settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange"), "ingest.symbols": _names(symbols)})
    _end(run_backfill(settings, interval=interval, start=start, end=end, what=what, as_json=as_json))


@app.command("export")
def export_files(
    symbols: Annotated[list[str], typer.Argument(help="Symbols.")],
    folder: Annotated[Path, typer.Option("--to", help="Folder to write to.")],
    what: Annotated[str, typer.Option(help="klines, trades, funding; several by commas.")] = "klines",
    interval: Annotated[str, typer.Option("--interval", "-i", help="Intervals of klines, by commas.")] = "1m",
    start: Start = None,
    end: End = None,
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Stored rows as a folder of Parquet files.

    Partitioned: DuckDB, polars and Arrow read it as one table. Files that stand there are replaced,
    and removed where no row of theirs is stored any more.
    """
    from zvt_crypto.cli.commands.export import run_export

    _end(
        run_export(
            _settings(config, data_dir, {}), symbols, folder, what=_names(what, "noun") or (), intervals=_names(interval, "interval") or (),
            start=start, end=end, exchange=exchange, as_json=as_json,
        )
    )  # fmt: skip


@app.command("import")
def import_files(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders with all that is in them.")],
    form: Annotated[str, typer.Option("--format", help="freqtrade, binance-vision or generic.")],
    exchange: Exchange = None,
    symbol: Annotated[str | None, typer.Option("--symbol", "-s", help="The instrument, where the file's name does not say it.")] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Of a generic file's bars.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Of a generic file: time=ts,open=o,…; numbers count columns without a header.")
    ] = None,
    what: Annotated[str | None, typer.Option(help="A generic file holds klines or trades. [default: klines]")] = None,
    stream: Annotated[str | None, typer.Option(help="Whose ids trades have: trade or agg.")] = None,
    market: Annotated[str | None, typer.Option(help="Binance Vision's spot or usdm, where no folder's name says it.")] = None,
    time_unit: Annotated[str | None, typer.Option(help="s, ms, us or ns. [default: told by the numbers' size]")] = None,
    utc: Annotated[bool, typer.Option("--utc", help="Times without a zone are UTC.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="The report of rejected rows, CSV. [default: in the data folder]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and report only.")] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Take in files of freqtrade, Binance Vision, or any table.

    Every rejected row is reported, and the exit status is 1 then. Running it again does the rest and changes nothing.
    """
    from zvt_crypto.cli.commands.import_files import run_import

    said: dict[str, Any] = {"format": form, "exchange": exchange, "symbol": symbol, "interval": interval, "columns": columns}
    said |= {"what": what, "stream": stream, "market": market, "time_unit": time_unit, "utc": utc}
    _end(run_import(_settings(config, data_dir, {}), paths, said, rejects=rejects, dry_run=dry_run, as_json=as_json))


@app.command()
def kdata(
    symbol: Symbol,
    interval: Interval = "1m",
    start: Start = None,
    end: End = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", **WHOLE, help="At most so many rows.")] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As it was known at this time, corrections that came later left out.")
    ] = None,
    form: Annotated[Form | None, typer.Option("--format", "-f", help="How to write them. [default: as the file ends, or a table]")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write (needed for parquet).")] = None,
    as_json: Json = False,
    exchange: Exchange = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Query stored klines."""
    from zvt_crypto.cli.commands.kdata import run_kdata

    settings = _settings(config, data_dir, {})
    if as_json and form not in (None, Form.json):
        raise typer.BadParameter(f"--json and --format {form.value} ask for two forms: give one of them")
    chosen = "json" if as_json else form.value if form else None
    _end(
        run_kdata(settings, symbol, interval, start=start, end=end, limit=limit, as_of=as_of, form=chosen, output=output, exchange=exchange)
    )


@app.command()
def emulator(
    mode: Annotated[Emulation, typer.Argument(help="market: a seeded synthetic one; replay: a capture.")] = Emulation.market,
    files: Annotated[list[Path] | None, typer.Argument(help="Captures to replay.")] = None,
    exchange: Annotated[
        str | None, typer.Option("--exchange", "-e", help="Whose protocols, by commas. [default: binance, or the capture's]")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    rest_port: Annotated[int, typer.Option(**PORT, help="REST port; 0 takes a free one.")] = 9000,
    ws_port: Annotated[int, typer.Option(**PORT, help="WebSocket port; 0 takes a free one.")] = 9001,
    symbols: Annotated[str | None, typer.Option("--symbols", "-s", help="Market: its symbols by commas, or how many (1000).")] = None,
    seed: Annotated[int, typer.Option(**WHOLE, help="Market: its seed.")] = 1,
    rate: Annotated[float, typer.Option(**NUMBER, help="Market: events a second for each symbol.")] = 20.0,
    speed: Annotated[float, typer.Option(**NUMBER, help="Replay: 1 is the recorded pace, 0 as fast as it is read.")] = 1.0,
    position: Annotated[Path | None, typer.Option(help="Replay: file that keeps the position over a restart.")] = None,
    faults: Annotated[Path | None, typer.Option(help="A script of what goes wrong, and when (TOML).")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve https and wss with this certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """Exchanges on this machine.

    They speak their own REST and WebSocket protocols; Binance unless told otherwise.
    """
    from zvt_crypto.cli.commands.emulator import run_emulator

    _end(
        run_emulator(
            mode.value, files or [], exchanges=_names(exchange, "exchange") or (), host=host, rest_port=rest_port, ws_port=ws_port,
            symbols=_names(symbols), seed=seed, rate=rate, speed=speed, position=position, faults=faults,
            tls_cert=tls_cert, tls_key=tls_key, with_parent=with_parent,
        )
    )  # fmt: skip


@app.command()
def coverage(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols. [default: all that are stored]")] = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Klines of this interval only.")] = None,
    start: Start = None,
    end: End = None,
    differences: Annotated[bool, typer.Option("--differences", help="Every bar that two sources tell differently.")] = False,
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """What is stored, and what is missing.

    Complete, missing, filled from where, revised, differing.
    """
    from zvt_crypto.cli.commands.coverage import run_coverage

    settings = _settings(config, data_dir, {})
    _end(
        run_coverage(
            settings, symbols or [], interval=interval, start=start, end=end, exchange=exchange, differences=differences, as_json=as_json
        )
    )


@app.command()
def history(
    symbol: Symbol,
    at: Annotated[str, typer.Option("--at", help="A time within the bar.")],
    interval: Interval = "1m",
    ask: Annotated[bool, typer.Option("--ask", help="Ask the exchange what it answers now; nothing is stored.")] = False,
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Every version of one bar.

    What was first seen, what the exchange says now, who filled its gap.
    """
    from zvt_crypto.cli.commands.history import run_history

    _end(run_history(_settings(config, data_dir, {}), symbol, interval=interval, at=at, exchange=exchange, ask=ask, as_json=as_json))


@app.command()
def book(
    symbol: Symbol,
    at: Annotated[str, typer.Option("--at", help="The instant, RFC 3339; fractions of a second count.")],
    depth: Annotated[int, typer.Option("--depth", **WHOLE, help="Levels of a side.")] = 20,
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """The order book of a past instant.

    Where the setting ingest.book_log has kept books in full.
    """
    from zvt_crypto.cli.commands.book import run_book

    _end(run_book(_settings(config, data_dir, {}), symbol, at=at, depth=depth, exchange=exchange, as_json=as_json))


@app.command()
def verify(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols. [default: all that are stored]")] = None,
    tables: Annotated[str | None, typer.Option("--tables", help="Tables by commas: kline_1m, trade, … [default: all]")] = None,
    sign: Annotated[bool, typer.Option("--sign", help="Make the checksums that are missing or out of date.")] = False,
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Compare stored rows with their checksums.

    Names the first wrong row of every chunk that differs; the exit status is 1 then.
    """
    from zvt_crypto.cli.commands.verify import run_verify

    chosen = _names(tables, "table")
    _end(run_verify(_settings(config, data_dir, {}), symbols or [], tables=chosen, exchange=exchange, sign=sign, as_json=as_json))


@app.command()
def repair(
    symbols: Symbols = None,
    interval: Annotated[str | None, typer.Option("--interval", "-i", help="Holes of this interval only.")] = None,
    exchange: Exchanges = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Close holes from the exchanges.

    Gaps that were noticed, and holes between stored bars; reports each, and the exit status is 1 where one stays open.
    """
    from zvt_crypto.cli.commands.repair import run_repair

    settings = _settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange"), "ingest.symbols": _names(symbols)})
    _end(run_repair(settings, interval=interval, as_json=as_json))


@app.command()
def venues(
    exchange: Annotated[str | None, typer.Argument(help="One of them, with notes. [default: all, side by side]")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a table in Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """What each exchange can do.

    Natively, derived by us, or not at all.
    """
    from zvt_crypto.cli.commands.venues import run_venues

    _end(run_venues(exchange, markdown=markdown, as_json=as_json))


@app.command()
def doctor(
    exchange: Exchanges = None,
    offline: Annotated[bool, typer.Option("--offline", help="Leave the exchanges out.")] = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Find out what is wrong.

    Looks at database, clock, disk, ports and exchanges; each line says ok, warn or fail, and what to do.
    """
    from zvt_crypto.cli.commands.doctor import run_doctor

    _end(run_doctor(_settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange")}), offline=offline, as_json=as_json))


@app.command("show-config")
def show_config(
    redact: Annotated[bool, typer.Option("--redact/--no-redact", help="Hide passwords.")] = True,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Every setting as it is now, and the variable that sets it."""
    from zvt_crypto.cli.commands.show_config import run_show_config

    _end(run_show_config(_settings(config, data_dir, {}), redact=redact, as_json=as_json))


@app.command()
def version() -> None:
    """Print the version."""
    from zvt_crypto import __version__

    print(__version__)


@db.command("upgrade")
def db_upgrade(revision: Revision = "head", config: Config = None, data_dir: DataDir = None) -> None:
    """Bring the schema up to a revision."""
    from zvt_crypto.cli.commands.database import run_upgrade

    _end(run_upgrade(_settings(config, data_dir, {}), revision))


@db.command("downgrade")
def db_downgrade(
    revision: Annotated[str, typer.Argument(help="A revision of `db status`, or base.")], config: Config = None, data_dir: DataDir = None
) -> None:
    """Take the schema down to a revision.

    `base` removes every table and its rows.
    """
    from zvt_crypto.cli.commands.database import run_downgrade

    _end(run_downgrade(_settings(config, data_dir, {}), revision))


@db.command("status")
def db_status(as_json: Json = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Its address, revision and rows."""
    from zvt_crypto.cli.commands.database import run_status

    _end(run_status(_settings(config, data_dir, {}), as_json=as_json))


@pairs.callback(invoke_without_command=True)
def pairs_root(
    context: typer.Context,
    exchange: Exchange = None,
    kind: Kind = None,
    status: Status = None,
    at: At = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Instruments: what exchanges list. Without a command, as `pairs list`."""
    if context.invoked_subcommand is None:
        pairs_list(exchange=exchange, kind=kind, status=status, at=at, as_json=as_json, config=config, data_dir=data_dir)
    else:
        _refuse_before(context)


@assets.callback(invoke_without_command=True)
def assets_root(
    context: typer.Context, exchange: Exchange = None, as_json: Json = False, config: Config = None, data_dir: DataDir = None
) -> None:
    """Assets: the currencies of instruments. Without a command, as `assets list`."""
    if context.invoked_subcommand is None:
        assets_list(exchange=exchange, as_json=as_json, config=config, data_dir=data_dir)
    else:
        _refuse_before(context)


@pairs.command("list")
def pairs_list(
    exchange: Exchange = None,
    kind: Kind = None,
    status: Status = None,
    at: At = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Stored instruments, now or as listed at a time."""
    from zvt_crypto.cli.commands.entities import run_list_pairs

    _end(run_list_pairs(_settings(config, data_dir, {}), exchange=exchange, kind=kind, status=status, at=at, as_json=as_json))


@pairs.command("show")
def pairs_show(symbol: Symbol, exchange: Exchange = None, as_json: Json = False, config: Config = None, data_dir: DataDir = None) -> None:
    """One instrument, and every dated fact that is known of it."""
    from zvt_crypto.cli.commands.entities import run_show_pair

    _end(run_show_pair(_settings(config, data_dir, {}), symbol, exchange=exchange, as_json=as_json))


@pairs.command("add")
def pairs_add(
    native_symbol: Annotated[str, typer.Argument(help="As the exchange writes it.")],
    exchange: Annotated[str, typer.Option("--exchange", "-e", help="Exchange id.")],
    base: Annotated[str, typer.Option(help="Base asset.")],
    quote: Annotated[str, typer.Option(help="Quote asset.")],
    perp: Annotated[bool, typer.Option("--perp", help="A perpetual, settled in --settle.")] = False,
    settle: Annotated[str | None, typer.Option(help="Settlement currency. [default: the quote]")] = None,
    tick: Annotated[str | None, typer.Option(help="Price step.")] = None,
    lot: Annotated[str | None, typer.Option(help="Quantity step.")] = None,
    minimum: Annotated[str | None, typer.Option("--min", help="Smallest quantity.")] = None,
    listed: Annotated[str | None, typer.Option(help="Since when the exchange lists it.")] = None,
    delisted: Annotated[str | None, typer.Option(help="Since when it does no more.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Create an instrument by hand.

    `pairs sync` reads them from the exchange.
    """
    from zvt_crypto.cli.commands.entities import run_add_pair

    facts = {"tick": tick, "lot": lot, "min_trade_amount": minimum}
    _end(
        run_add_pair(
            _settings(config, data_dir, {}), native_symbol, exchange, base, quote,
            perp=perp, settle=settle, facts=facts, listed=listed, delisted=delisted,
        )
    )  # fmt: skip


@pairs.command("update")
def pairs_update(
    symbol: Symbol,
    status: Annotated[str | None, typer.Option(help="active, suspended, …")] = None,
    tick: Annotated[str | None, typer.Option(help="Price step.")] = None,
    lot: Annotated[str | None, typer.Option(help="Quantity step.")] = None,
    minimum: Annotated[str | None, typer.Option("--min", help="Smallest quantity.")] = None,
    listed: Annotated[str | None, typer.Option(help="Since when the exchange lists it.")] = None,
    exchange: Exchange = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Change an instrument; the old value stays as a dated fact."""
    from zvt_crypto.cli.commands.entities import run_update_pair

    facts = {"status": status, "tick": tick, "lot": lot, "min_trade_amount": minimum}
    _end(run_update_pair(_settings(config, data_dir, {}), symbol, exchange=exchange, facts=facts, listed=listed))


@pairs.command("delist")
def pairs_delist(
    symbol: Symbol,
    at: Annotated[str | None, typer.Option(help="Since when. [default: now]")] = None,
    exchange: Exchange = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Mark an instrument as delisted; its rows stay."""
    from zvt_crypto.cli.commands.entities import run_delist_pair

    _end(run_delist_pair(_settings(config, data_dir, {}), symbol, at=at, exchange=exchange))


@pairs.command("rename")
def pairs_rename(
    symbol: Symbol,
    successor: Annotated[str, typer.Argument(help="What the exchange calls it from then on; stored already.")],
    at: Annotated[str | None, typer.Option(help="Since when. [default: now]")] = None,
    exchange: Exchange = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Note that an instrument goes on under another name.

    The old one is delisted, and its facts name the new one.
    """
    from zvt_crypto.cli.commands.entities import run_rename_pair

    _end(run_rename_pair(_settings(config, data_dir, {}), symbol, successor, at=at, exchange=exchange))


@pairs.command("sync")
def pairs_sync(exchange: Exchanges = None, as_json: Json = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Read all instruments from the exchanges.

    Their assets, too, with the shipped names and caps. A market that the exchange does not serve here is left out, and said so; the exit
    status is 0 as long as one was read, and 3 where none was. An exchange that fails does not stop the others; the exit status tells.
    """
    from zvt_crypto.cli.commands.entities import run_sync

    _end(run_sync(_settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange")}), as_json=as_json))


@assets.command("list")
def assets_list(exchange: Exchange = None, as_json: Json = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Stored assets."""
    from zvt_crypto.cli.commands.entities import run_list_assets

    _end(run_list_assets(_settings(config, data_dir, {}), exchange=exchange, as_json=as_json))


@assets.command("search")
def assets_search(
    text: Annotated[str, typer.Argument(help="Symbol or name, or a part of one.")],
    exchange: Exchange = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Assets by symbol or name; an exact one wins alone."""
    from zvt_crypto.cli.commands.entities import run_search_assets

    _end(run_search_assets(_settings(config, data_dir, {}), text, exchange=exchange, as_json=as_json))


@assets.command("show")
def assets_show(
    asset_id: Annotated[str, typer.Argument(help="For example crypto_binance_btc.")],
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """One asset, and every dated fact that is known of it."""
    from zvt_crypto.cli.commands.entities import run_show_asset

    _end(run_show_asset(_settings(config, data_dir, {}), asset_id, as_json=as_json))


@assets.command("add")
def assets_add(
    symbol: Annotated[str, typer.Argument(help="The asset's code, BTC for example.")],
    exchange: Annotated[str, typer.Option("--exchange", "-e", help="Exchange id.")],
    source: Annotated[str, typer.Option(help="Who says so.")],
    name: Annotated[str | None, typer.Option(help="Full name.")] = None,
    max_supply: Annotated[str | None, typer.Option(help="Most units that can ever exist.")] = None,
    market_cap: Annotated[str | None, typer.Option(help="Market value, USD.")] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Create or update an asset.

    What changes becomes a dated fact with its source.
    """
    from zvt_crypto.cli.commands.entities import run_add_asset

    facts = {"full_name": name, "max_supply": max_supply, "market_cap": market_cap}
    _end(run_add_asset(_settings(config, data_dir, {}), symbol, exchange, source, facts=facts))


@assets.command("import")
def assets_import(
    file: Annotated[Path, typer.Argument(help="CSV file.")], exchange: Exchanges = None, config: Config = None, data_dir: DataDir = None
) -> None:
    """Names and caps from a CSV file.

    Its columns are those of the shipped table: symbol, full_name, max_supply, source, as_of.
    """
    from zvt_crypto.cli.commands.entities import run_import_assets

    _end(run_import_assets(_settings(config, data_dir, {"ingest.exchanges": _names(exchange, "exchange")}), file))


@storage.command("status")
def storage_status(as_json: Json = False, config: Config = None, data_dir: DataDir = None) -> None:
    """Rows and bytes of every table, hot, packed and archived; bytes of each symbol; policies; what the server can do."""
    from zvt_crypto.cli.commands.storage import run_status

    _end(run_status(_settings(config, data_dir, {}), as_json=as_json))


@storage.command("policy")
def storage_policy(
    target: Annotated[str | None, typer.Argument(help="An interval, or trade, funding, mark, book, depth.")] = None,
    compact: Annotated[str | None, typer.Option(help="Pack after so many days, or off.")] = None,
    retain: Annotated[str | None, typer.Option(help="Forget after so many days, or off.")] = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Set or show how long what is kept, and in which form.

    Policies lie in the database; `storage compact` and `storage retain` do what they say.
    """
    from zvt_crypto.cli.commands.storage import run_policy

    _end(run_policy(_settings(config, data_dir, {}), target, compact=compact, retain=retain, as_json=as_json))


@storage.command("compact")
def storage_compact(
    targets: Annotated[list[str] | None, typer.Argument(help="Intervals. [default: all that have a packed form]")] = None,
    older_than: OlderThan = None,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Pack whole months of final klines; they are read and corrected as before.

    May be ended at any moment, and called again.
    """
    from zvt_crypto.cli.commands.storage import run_compact

    _end(run_compact(_settings(config, data_dir, {}), targets or [], days=older_than, as_json=as_json))


@storage.command("unpack")
def storage_unpack(
    target: Annotated[str, typer.Argument(help="An interval.")],
    start: Start = None,
    end: End = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Make rows again of packed klines, for those who read the database with SQL."""
    from zvt_crypto.cli.commands.storage import run_unpack

    _end(run_unpack(_settings(config, data_dir, {}), target, start, end))


@storage.command("rollup")
def storage_rollup(config: Config = None, data_dir: DataDir = None) -> None:
    """Make longer klines, up to months, of minutes that came late or were corrected.

    A running platform does so by itself, once a minute.
    """
    from zvt_crypto.cli.commands.storage import run_rollup

    _end(run_rollup(_settings(config, data_dir, {})))


@storage.command("hypertables")
def storage_hypertables(
    aggregates: Annotated[bool, typer.Option("--aggregates", help="And continuous aggregates of minutes, by hour and day.")] = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """On TimescaleDB: make hypertables of the tables that are divided by time, while they are empty."""
    from zvt_crypto.cli.commands.storage import run_hypertables

    _end(run_hypertables(_settings(config, data_dir, {}), aggregates=aggregates))


@storage.command("retain")
def storage_retain(
    targets: Annotated[list[str] | None, typer.Argument(help="Intervals or channels. [default: all with a policy]")] = None,
    older_than: OlderThan = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and leave it.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Forget what is older than its policy allows, for good.

    It says all that would go, and asks first.
    """
    from zvt_crypto.cli.commands.storage import run_retain

    settings = _settings(config, data_dir, {})
    _end(run_retain(settings, targets or [], days=older_than, dry_run=dry_run, yes=yes, as_json=as_json))


@storage.command("archive")
def storage_archive(
    folder: Annotated[Path, typer.Argument(help="Where the Parquet files go, or are.")],
    target: Annotated[str | None, typer.Argument(help="An interval, or trade, funding, mark, book, depth.")] = None,
    older_than: Annotated[int | None, typer.Option("--older-than", **WHOLE, help="Days. Needed, unless with --verify.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the rows out of the database once their files are verified.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only compare the folder's files with its manifests.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write whole months (trades, books in full: days) to Parquet files with a manifest.

    Every file is read again before it counts. May be ended at any moment, and called again.
    """
    from zvt_crypto.cli.commands.storage import run_archive, run_verify_archive

    if verify:
        _end(run_verify_archive(folder))
        return
    if target is None:
        raise typer.BadParameter("what to archive is missing: an interval, or trade, funding, mark, book, depth")
    _end(run_archive(_settings(config, data_dir, {}), target, folder, days=older_than, remove=remove, yes=yes, as_json=as_json))


def _settings(config: Path | None, data_dir: Path | None, overrides: dict[str, object]) -> Any:
    from zvt_crypto.cli.settings import load_settings

    return load_settings(config, overrides={"data_dir": data_dir, **overrides})


def _refuse_before(context: typer.Context) -> None:
    """An option of the group's own list would be ignored by another command of it."""
    for parameter in context.command.params:
        if parameter.name is not None and context.params.get(parameter.name) not in (None, False):
            raise typer.BadParameter(f"{parameter.opts[0]} belongs after {context.invoked_subcommand!r}, not before it")


def _names(given: str | None, noun: str = "symbol") -> tuple[str, ...] | None:
    if given is None:
        return None
    names = tuple(part.strip() for part in given.split(",") if part.strip())
    if not names:
        from zvt_crypto.domain.errors import BadInput, shown

        raise BadInput(f"no {noun} was given: {shown(given)} holds none")
    return names


def _end(code: int) -> None:
    if code:
        raise typer.Exit(code)


def main() -> None:
    """The entry point of the console script."""
    try:
        app(prog_name="zvt-crypto")
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output left; nothing is wrong with us
        sys.exit(exits.OK)
    except Exception as error:  # noqa: BLE001 - the last place where an error can become a line and an exit status
        sys.exit(exits.report(error, debug="--debug" in sys.argv))
