"""Settings: the only reader of the environment.

Later wins: defaults, the TOML file, `ZVT_CRYPTO__SECTION__KEY`, options of the command line. An unknown key is an error that names
it. Secrets stand here by reference (`env:NAME`, `file:/path` with mode 0600) and are read when they are needed.
"""

from __future__ import annotations

import os
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import platformdirs

from zvt_crypto.cli.expected import expected
from zvt_crypto.domain.errors import BadConfig, shown
from zvt_crypto.telemetry.redact import redact_url

PREFIX = "ZVT_CRYPTO__"
CONFIG_VARIABLE = "ZVT_CRYPTO_CONFIG"
# Addresses that may need a secret, and where it belongs instead of the settings file.
_NO_SECRET_IN = (
    ("database", "url", "put it elsewhere and set database.password to env:NAME or file:/path"),
    ("limits", "redis", "put the whole address elsewhere and set limits.redis to env:NAME or file:/path"),
    ("live", "redis", "put the whole address elsewhere and set live.redis to env:NAME or file:/path"),
)
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file; unknown keys are refused."""


class Database(Section, frozen=True):
    """Where rows live. Without a url, a PostgreSQL of our own runs in `dir`."""

    url: str | None = None  # postgresql://user@host:5432/name, or a reference to one
    password: str | None = None  # a reference: env:NAME or file:/path
    dir: Path | None = None  # default: <data_dir>/database
    pool_size: Annotated[int, msgspec.Meta(ge=1, le=200)] = 8


class Endpoint(Section, frozen=True):
    """Where a server of ours listens. Port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: Port = 0


class Api(Endpoint, frozen=True):
    """The REST API. `hosts`: Host names that are answered (`*`: any); `origins`: web pages of other origins that may read us. Both
    hold for the WebSocket, too."""

    port: Port = 8000
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    origins: tuple[str, ...] = ()


class Ws(Endpoint, frozen=True):
    """The WebSocket gateway."""

    port: Port = 8001


class HealthPort(Section, frozen=True):
    """Where a process that serves no data tells of itself: `/health`, `/ready` and `/metrics` of `ingest` and `record`."""

    host: str = "127.0.0.1"
    port: Port | None = None


class Venue(Section, frozen=True):
    """An exchange. `rest` and `ws` point all of it at one place, an emulator for example; empty means the real exchange."""

    rest: str | None = None
    ws: str | None = None


class Binance(Venue, frozen=True):
    """Binance."""

    markets: tuple[Literal["spot", "usdm"], ...] = ("spot", "usdm")
    trades: Literal["trade", "agg"] = "trade"  # which id space of spot trades is followed
    usdm_trades: Literal["trade", "agg"] = "agg"  # Binance documents no single trades of USD-M any more; recordings may hold them


class Bybit(Venue, frozen=True):
    """Bybit."""

    markets: tuple[Literal["spot", "linear", "inverse"], ...] = ("spot", "linear", "inverse")
    book_levels: Literal[50, 200, 1000] = 200  # of streamed books: 50 come every 20 ms, 200 every 100, 1000 every 200


class Okx(Venue, frozen=True):
    """OKX."""

    markets: tuple[Literal["spot", "swap", "futures"], ...] = ("spot", "swap", "futures")


class Coinbase(Venue, frozen=True):
    """Coinbase."""

    markets: tuple[Literal["spot", "future"], ...] = ("spot", "future")
    books_a_socket: Annotated[int, msgspec.Meta(ge=1, le=30)] = 4  # one lost message makes all books of its connection stale


class Ingest(Section, frozen=True):
    """What is followed live; `backfill` and the like ask each of `exchanges`, too."""

    exchanges: tuple[str, ...] = ("binance",)
    symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT")
    channels: tuple[Literal["trade", "kline", "depth", "ticker", "mark"], ...] = ("trade", "kline", "depth", "ticker", "mark")
    spool_mb: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 512  # rows kept in a file while the database is away
    book_every_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 60  # the top of each live book is stored this often; 0: never
    book_levels: Annotated[int, msgspec.Meta(ge=1, le=5_000)] = 50  # of a side
    book_log: bool = False  # whether every update of every live book is stored, so that the book of any instant can be had
    shards: Annotated[int, msgspec.Meta(ge=1, le=1_024)] = 1  # parts of each exchange that `ingest` processes divide

    @property
    def exchange(self) -> str:
        """The one that is asked where only one can be."""
        return self.exchanges[0]

    def __post_init__(self) -> None:
        if not self.exchanges:
            raise ValueError("exchanges must name one at least")


class Live(Section, frozen=True):
    """What several processes share while it is new. Without a Redis (or Valkey) server, one process does everything in its memory.
    `redis://host:6379/0`, `redis+sentinel://host:port,host:port/name`, `redis+cluster://host:port,host:port`, or a reference."""

    redis: str | None = None


class Limits(Section, frozen=True):
    """The venues' rate limits, shared by all processes that name the same file (None: one in the user's cache folder), or, between
    machines that leave through one address, the same Redis server (`redis://host:6379/0`, or a reference)."""

    file: Path | None = None
    redis: str | None = None


class Cache(Section, frozen=True):
    """Local copies of months of klines, for frames (None: `cache` in data_dir). They are never the only place of anything."""

    dir: Path | None = None
    size_mb: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 2_000  # 0: none


class Log(Section, frozen=True):
    """The log: one JSON object a line, UTC, to stderr or a file."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: Path | None = None


def usual_data_dir() -> Path:
    """The user's data folder; root's own is closed to the unprivileged user that PostgreSQL runs as, so root has another."""
    return Path("/var/lib/zvt-crypto") if os.geteuid() == 0 else Path(platformdirs.user_data_dir("zvt-crypto"))


class Settings(Section, frozen=True):
    """All of them."""

    data_dir: Path = msgspec.field(default_factory=usual_data_dir)
    database: Database = Database()
    api: Api = Api()
    ws: Ws = Ws()
    health: HealthPort = HealthPort()
    binance: Binance = Binance()
    bybit: Bybit = Bybit()
    okx: Okx = Okx()
    coinbase: Coinbase = Coinbase()
    ingest: Ingest = Ingest()
    live: Live = Live()
    limits: Limits = Limits()
    cache: Cache = Cache()
    log: Log = Log()

    @property
    def postgres_dir(self) -> Path:
        """The embedded server's folder."""
        return self.database.dir or self.data_dir / "database"

    @property
    def limits_file(self) -> Path:
        """Where this machine counts what it has spent at the venues."""
        return self.limits.file or Path(platformdirs.user_cache_dir("zvt-crypto")) / "limits.json"

    @property
    def cache_dir(self) -> Path:
        """Copies of what the database holds."""
        return self.cache.dir or self.data_dir / "cache"

    @property
    def spool_dir(self) -> Path:
        """Rows that wait for the database."""
        return self.data_dir / "spool"


def load_settings(
    config: Path | None = None, environ: Mapping[str, str] | None = None, overrides: Mapping[str, object] | None = None
) -> Settings:
    """Settings from the file, the environment and `overrides` (`{"api.port": 0}`; None leaves a key alone). Raises BadConfig."""
    env = os.environ if environ is None else environ
    values = _from_file(_config_path(config, env))
    for dotted, value in _from_environment(env).items():
        _put(values, dotted, value)
    for dotted, value in (overrides or {}).items():
        if value is not None:
            _put(values, dotted, value)
    try:
        return msgspec.convert(values, Settings, strict=False, dec_hook=_from_text)
    except msgspec.ValidationError as error:
        raise BadConfig(_explained(str(error), values)) from None


def database_url(settings: Settings, environ: Mapping[str, str] | None = None) -> str | None:
    """The server's address with its secret filled in, or None for the embedded one. Raises BadConfig. Never log it."""
    database = settings.database
    if database.url is None:
        return None
    url = read_secret("database.url", database.url, environ) if is_reference(database.url) else database.url
    if not url.startswith(("postgresql://", "postgres://")):
        raise BadConfig(f"database.url {shown(redact_url(url))} is not a postgresql:// address")
    _check_address(url)
    if database.password is None:
        return url
    secret = read_secret("database.password", database.password, environ)
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")
    user = place[0].partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(secret, safe='')}@{place[2]}"))


def _check_address(url: str) -> None:
    """Raises BadConfig for an address that the driver would read in another way than it was meant, without showing any of it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadConfig("database.url is no address: its host is not readable") from None
    asked = parts.query.split("&") if parts.query else []
    if "@" in parts.path + parts.fragment or any("@" in part and "=" not in part for part in asked):
        raise BadConfig("the password or user of database.url has a bare / ? # or @ in it, to be written as %2F %3F %23 %40")
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
        if port and not (port.isascii() and port.isdigit()):  # what stands there may be a password without its host
            raise BadConfig("database.url: its port is no number; postgresql://user:password@host:port/database is the form")
        if port and not 1 <= int(port[:6]) <= 65_535:
            raise BadConfig(f"database.url: port {shown(port)} is out of range: 1 to 65535")


def redis_url(settings: Settings, environ: Mapping[str, str] | None = None) -> str | None:
    """The address of the shared live state, its secret filled in; None for one process alone. Raises BadConfig. Never log it."""
    address = settings.live.redis
    return read_secret("live.redis", address, environ) if address is not None and is_reference(address) else address


def is_reference(text: str) -> bool:
    """Whether it says where a secret is, instead of being one."""
    return text.startswith(("env:", "file:"))


def read_secret(name: str, reference: str, environ: Mapping[str, str] | None = None) -> str:
    """What the reference of setting `name` points to. Raises BadConfig, which never shows the secret."""
    kind, _, where = reference.partition(":")
    if kind == "env":
        found = (os.environ if environ is None else environ).get(where)
        if not found:
            raise BadConfig(f"{name}: the environment variable {shown(where)} is not set")
        return found
    if kind != "file":
        raise BadConfig(f"{name} must be a reference, env:NAME or file:/path; it holds something else (not shown)")
    path = Path(where).expanduser()
    try:
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise BadConfig(f"{name}: {where} may be read by others (mode {mode:o}): chmod 600 {where}")
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise BadConfig(f"{name}: cannot read {where}: {error.strerror}") from None


def flat(settings: Settings, *, redact: bool = True) -> dict[str, object]:
    """Dotted key → value, in order; secrets of every address and literal passwords are shown as `***`."""
    rows: dict[str, object] = {}

    def hidden(value: object) -> object:
        return redact_url(value) if isinstance(value, str) and "://" in value and not is_reference(value) else value

    def walk(prefix: str, value: object) -> None:
        if isinstance(value, msgspec.Struct):
            for field in value.__struct_fields__:
                walk(f"{prefix}.{field}" if prefix else field, getattr(value, field))
            return
        if isinstance(value, tuple):
            rows[prefix] = [hidden(part) if redact else part for part in value]
            return
        if redact and prefix == "database.password" and isinstance(value, str) and not is_reference(value):
            value = "***"
        rows[prefix] = str(value) if isinstance(value, Path) else hidden(value) if redact else value

    walk("", settings)
    return rows


def _config_path(config: Path | None, env: Mapping[str, str]) -> Path | None:
    if config is None and env.get(CONFIG_VARIABLE):
        config = Path(env[CONFIG_VARIABLE])
    if config is not None:
        if not config.is_file():
            raise BadConfig(f"settings file {config} {'is a folder' if config.is_dir() else 'does not exist'}")
        return config
    usual = Path(platformdirs.user_config_dir("zvt-crypto")) / "config.toml"
    return usual if usual.is_file() else None


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"settings file {path} is not TOML: {error}") from None
    except OSError as error:
        raise BadConfig(f"settings file {path} cannot be read: {error.strerror}") from None
    for section, key, instead in _NO_SECRET_IN:
        table = values.get(section)
        url = table.get(key) if isinstance(table, dict) else None
        if isinstance(url, str) and not is_reference(url) and redact_url(url) != url:
            raise BadConfig(f"settings file {path}: {section}.{key} holds a password: {instead}")
    return values


def _from_environment(env: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name in sorted(env):
        if name.startswith(PREFIX) and name != PREFIX:
            dotted = ".".join(name.removeprefix(PREFIX).lower().split("__"))
            kind = _type_of(dotted)
            if kind is None:
                raise BadConfig(f"unknown setting {name} in the environment; `zvt-crypto show-config` lists all")
            found[dotted] = [part.strip() for part in env[name].split(",") if part.strip()] if _is_list(kind) else env[name]
    return found


def _type_of(dotted: str) -> object | None:
    """The type of a setting; None for a section, and for what does not exist."""
    kind = _hint_of(dotted)
    return None if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else kind


def _hint_of(dotted: str) -> object | None:
    kind: object = Settings
    for part in dotted.split("."):
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return None
        kind = typing.get_type_hints(kind, include_extras=True).get(part)
    return kind


def _is_list(kind: object) -> bool:
    if isinstance(kind, types.UnionType):
        return any(_is_list(part) for part in typing.get_args(kind))
    return typing.get_origin(kind) is tuple


def _from_text(kind: type, value: object) -> object:
    if kind is not Path or not isinstance(value, str | Path) or not str(value):
        raise ValueError(f"expected a path, got {shown(value)}")
    return Path(value).expanduser()


def _put(values: dict[str, Any], dotted: str, value: object) -> None:
    *sections, key = dotted.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise BadConfig(f"setting {section} is a section, not {shown(inner)}")
        values = inner
    values[key] = value


def _explained(message: str, values: Mapping[str, Any]) -> str:
    """The dotted key, what it may be, and the value, unless that may be a secret; made of msgspec's words."""
    what, _, where = message.partition(" - at `$.")
    key = where.removesuffix("`")
    if "unknown field" in what:
        unknown = what.split("`")[1]
        return f"unknown setting {f'{key}.{unknown}' if key else unknown}; `zvt-crypto show-config` lists all"
    if not what.startswith(("Expected", "Invalid enum value", "expected")):
        return f"setting {key}: {what}"  # a section's own rule, in our words
    dotted, _, index = key.partition("[")
    kind: object = _hint_of(dotted)
    found: object = values
    for part in dotted.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if index and isinstance(found, list | tuple):
        kind, found = typing.get_args(kind)[0], found[int(index.removesuffix("]"))]
    told = "" if key.startswith(("database.", "limits.redis", "live.redis")) else f", not {shown(found)}"
    return f"setting {key}: expected {expected(kind)}{told}"
