"""Settings: what wins, what is refused and named, and that secrets stay where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from zvt_crypto.cli.settings import database_url, flat, load_settings, read_secret
from zvt_crypto.domain.errors import BadConfig
from zvt_crypto.telemetry.redact import redact_url


@pytest.fixture
def config(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


def test_options_win_over_environment_over_file_over_defaults(config) -> None:
    path = config('[api]\nport = 1001\nhost = "0.0.0.0"\n[ws]\nport = 1002\n[log]\nlevel = "error"\n')
    settings = load_settings(path, {"ZVT_CRYPTO__API__PORT": "2001", "ZVT_CRYPTO__WS__PORT": "2002"}, {"api.port": 3001, "ws.port": None})
    assert (settings.api.port, settings.ws.port, settings.log.level, settings.api.host) == (3001, 2002, "error", "0.0.0.0")
    assert settings.database.pool_size == 8


def test_lists_come_from_the_environment_with_commas() -> None:
    settings = load_settings(environ={"ZVT_CRYPTO__INGEST__SYMBOLS": "BTCUSDT, ETHUSDT ,", "ZVT_CRYPTO__INGEST__CHANNELS": "trade"})
    assert settings.ingest.symbols == ("BTCUSDT", "ETHUSDT")
    assert settings.ingest.channels == ("trade",)


def test_the_settings_file_may_be_named_by_a_variable(config) -> None:
    assert load_settings(environ={"ZVT_CRYPTO_CONFIG": str(config("[api]\nport = 7\n"))}).api.port == 7


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("ZVT_CRYPTO__API__PRT", "1", "ZVT_CRYPTO__API__PRT"),
        ("ZVT_CRYPTO__NOTHING", "1", "ZVT_CRYPTO__NOTHING"),
        ("ZVT_CRYPTO__API", "1", "ZVT_CRYPTO__API"),
        ("ZVT_CRYPTO__API__PORT", "70000", "api.port.*'70000'"),
        ("ZVT_CRYPTO__API__PORT", "eighty", "api.port.*'eighty'"),
        ("ZVT_CRYPTO__LOG__LEVEL", "loud", "log.level.*'loud'"),
        ("ZVT_CRYPTO__INGEST__CHANNELS", "trade,gossip", "ingest.channels.*gossip"),
        ("ZVT_CRYPTO__DATABASE__POOL_SIZE", "0", "database.pool_size"),
    ],
)
def test_a_wrong_variable_is_refused_by_name_and_value(name: str, value: str, named: str) -> None:
    with pytest.raises(BadConfig, match=named):
        load_settings(environ={name: value})


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bybit.book_levels", "500", "bybit.book_levels: expected one of 50, 200, 1000, not '500'"),
        ("bybit.book_levels", "many", "bybit.book_levels: expected one of 50, 200, 1000, not 'many'"),
        ("log.level", "loud", "log.level: expected one of debug, info, warning, error, not 'loud'"),
        ("binance.markets", ["spot", "moon"], "binance.markets[1]: expected one of spot, usdm, not 'moon'"),
        ("api.port", "70000", "api.port: expected a whole number, 0 to 65535, not '70000'"),
        ("coinbase.books_a_socket", "eighty", "coinbase.books_a_socket: expected a whole number, 1 to 30, not 'eighty'"),
        ("database.pool_size", 0, "database.pool_size: expected a whole number, 1 to 200"),
        ("ingest.spool_mb", True, "ingest.spool_mb: expected a whole number, 1 to 100000, not 'True'"),
        ("data_dir", 5, "data_dir: expected a path, not '5'"),
        ("log.file", 5, "log.file: expected a path, not '5'"),
        ("ingest.symbols", [7], "ingest.symbols[0]: expected text, not '7'"),
        ("api.hosts", 3, "api.hosts: expected a list, each text, not '3'"),
        ("ingest.channels", "trade", "ingest.channels: expected a list, each one of trade, kline, depth, ticker, mark, not 'trade'"),
        ("ingest.exchanges", [], "ingest: exchanges must name one at least"),
        ("limits.redis", 4, "limits.redis: expected text"),
        ("okx.rest", 4, "okx.rest: expected text, not '4'"),
        ("api", 3, "api: expected a section, not '3'"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(key: str, value: object, said: str) -> None:
    with pytest.raises(BadConfig) as refused:
        load_settings(environ={}, overrides={key: value})
    assert str(refused.value) == f"setting {said}"


def test_every_setting_can_be_told_what_it_may_be() -> None:
    for key in flat(load_settings(environ={})):
        with pytest.raises(BadConfig, match=f"^setting {key}: expected (one|a|text)"):
            load_settings(environ={}, overrides={key: object()})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[api]\nprt = 1\n", "api.prt"),
        ("color = 1\n", "unknown setting color"),
        ("[api]\nport = -1\n", "api.port"),
        ("api = 3\n", "setting api"),
        ("[api\n", "is not TOML"),
        ('[database]\nurl = "postgresql://me:hunter2@db/x"\n', "database.url holds a password"),
        ('[database]\nurl = "postgresql://db/x?sslpassword=hunter2"\n', "database.url holds a password"),
        ('[limits]\nredis = "redis://:hunter2@cache/0"\n', "limits.redis holds a password"),
    ],
)
def test_a_wrong_file_is_refused_by_key(config, text: str, named: str) -> None:
    with pytest.raises(BadConfig, match=named) as caught:
        load_settings(config(text), {})
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="does not exist"):
        load_settings(tmp_path / "none.toml", {})


def test_a_section_cannot_be_filled_through_a_value(config) -> None:
    with pytest.raises(BadConfig, match="setting api is a section"):
        load_settings(config("api = 3\n"), {"ZVT_CRYPTO__API__PORT": "1"})


def test_the_database_url_takes_its_password_from_a_file_that_only_we_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text("p@ss/word\n")
    secret.chmod(0o600)
    settings = load_settings(environ={}, overrides={"database.url": "postgresql://me@db:5432/x", "database.password": f"file:{secret}"})
    assert database_url(settings, {}) == "postgresql://me:p%40ss%2Fword@db:5432/x"
    secret.chmod(0o640)
    with pytest.raises(BadConfig, match="mode 640") as caught:
        database_url(settings, {})
    assert "p@ss" not in str(caught.value)


def test_the_whole_url_may_be_a_reference() -> None:
    settings = load_settings(environ={}, overrides={"database.url": "env:DB"})
    assert database_url(settings, {"DB": "postgresql://me:pw@db/x"}) == "postgresql://me:pw@db/x"
    with pytest.raises(BadConfig, match="'DB' is not set"):
        database_url(settings, {})


def test_without_a_url_the_database_is_our_own(tmp_path: Path) -> None:
    settings = load_settings(environ={}, overrides={"data_dir": tmp_path})
    assert database_url(settings) is None
    assert settings.postgres_dir == tmp_path / "database"
    assert load_settings(environ={"ZVT_CRYPTO__DATABASE__DIR": "/elsewhere"}).postgres_dir == Path("/elsewhere")


def test_another_database_than_postgresql_is_refused_without_its_password() -> None:
    settings = load_settings(environ={}, overrides={"database.url": "mysql://me:hunter2@db/x"})
    with pytest.raises(BadConfig, match="mysql") as caught:
        database_url(settings, {})
    assert "hunter2" not in str(caught.value)


def test_a_secret_that_stands_where_a_reference_should_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="must be a reference") as caught:
        read_secret("database.password", "hunter2", {})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BadConfig, match="cannot read"):
        read_secret("database.password", f"file:{tmp_path / 'none'}", {})


def test_what_is_shown_hides_passwords_unless_asked() -> None:
    settings = load_settings(
        environ={"ZVT_CRYPTO__DATABASE__URL": "postgresql://me:hunter2@db/x", "ZVT_CRYPTO__DATABASE__PASSWORD": "hunter3"}
    )
    assert "hunter" not in str(flat(settings))
    assert flat(settings)["database.url"] == "postgresql://me:***@db/x"
    assert flat(settings, redact=False)["database.url"] == "postgresql://me:hunter2@db/x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://db/x", "postgresql://db/x"),
        ("postgresql://me@db/x?sslmode=require", "postgresql://me@db/x?sslmode=require"),
        ("postgresql:///x?host=h&password=hunter2&port=1", "postgresql:///x?host=h&password=***&port=1"),
        ("postgresql://db/x?sslkey=/k&sslpassword=hunter2", "postgresql://db/x?sslkey=/k&sslpassword=***"),
        ("postgresql://db/x?PASSWORD=hunter2;port=1", "postgresql://db/x?PASSWORD=***;port=1"),
        ("postgresql://db/x?pass%77ord=hunter2", "postgresql://db/x?pass%77ord=***"),
        ("postgresql://me:hunter2@two@db/x", "postgresql://me:***@db/x"),
        ("redis://:hunter2@cache:6379/0", "redis://:***@cache:6379/0"),
        ("https://hunter2@proxy/api?key=hunter2&api_key=hunter2&depth=5", "https://***@proxy/api?key=***&api_key=***&depth=5"),
        ("wss://me:hunter2@proxy/ws#token=hunter2", "wss://***@proxy/ws#token=***"),
        ("hunter's house", "hunter's house"),
        ("postgresql://me:hunter2/3@db/x", "postgresql://***@db/x"),
        ("postgresql://me:2/hunter2@db/x", "postgresql://***@db/x"),
        ("redis://:hunter2?3@cache/0", "redis://***@cache/0"),
        (f"https://me:{'hunter2#3'}@proxy/api", "https://***@proxy/api"),
        ("https://proxy:8080/@me", "https://proxy:8080/@me"),
        ("postgresql://db:5432/x?options=a@b", "postgresql://db:5432/x?options=a@b"),
        ("postgresql://[::1]:5432/x?options=a@b", "postgresql://[::1]:5432/x?options=a@b"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:hun/ter2@db/x", "to be written as %2F"),
        (f"postgresql://me:{'hun?ter2'}@db/x", "to be written as %2F"),
        (f"postgresql://me:{'hun#ter2'}@db/x", "to be written as %2F"),
        ("postgresql://me:hun/ter@2@db/x", "to be written as %2F"),
        ("postgresql://me:hunter2", "its port is no number"),
        ("postgresql://me:hunter2@[db/x", "its host is not readable"),
        ("postgresql://me:hunter2@db:99999/x", "port '99999' is out of range"),
        ("postgresql://me:hunter2@db:0/x", "port '0' is out of range"),
    ],
)
def test_an_address_that_would_be_misread_is_refused_without_its_secret(url: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said) as refused:
        database_url(load_settings(environ={"ZVT_CRYPTO__DATABASE__URL": url}))
    assert "hun" not in str(refused.value)


@pytest.mark.parametrize("url", ["postgresql://[::1]:5432/x", "postgresql://a,b:5433/x?options=a@b", "postgresql:///x?host=/run"])
def test_unusual_addresses_are_taken_as_they_are(url: str) -> None:
    assert database_url(load_settings(environ={"ZVT_CRYPTO__DATABASE__URL": url})) == url


def test_every_address_among_the_settings_is_shown_without_its_secrets() -> None:
    secret = "https://me:hunter2@proxy/?password=hunter3&sslpassword=hunter4"
    addresses = {"database.url": secret, "limits.redis": secret, "api.origins": [secret]}
    for exchange in ("binance", "bybit", "okx", "coinbase"):
        addresses |= {f"{exchange}.rest": secret, f"{exchange}.ws": secret}
    settings = load_settings(environ={}, overrides=addresses)
    assert "hunter" not in str(flat(settings))
    assert flat(settings)["binance.rest"] == "https://***@proxy/?password=***&sslpassword=***"
    assert flat(settings)["api.origins"] == ["https://***@proxy/?password=***&sslpassword=***"]
    assert flat(settings, redact=False)["okx.ws"] == secret
