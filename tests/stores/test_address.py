"""Where a database is, in words that hold no secret."""

from __future__ import annotations

import pytest

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.stores.postgres import migrate, open_store
from zvt_crypto.stores.postgres.address import place_of


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://u:hunter2@127.0.0.1:1/x", "127.0.0.1:1/x"),
        ("postgresql://u:hunter2@db/x?sslmode=require", "db:5432/x"),
        ("postgres://db", "db:5432"),
        ("postgresql://u:hunter2@a:1,b/x", "a:1,b:5432/x"),
        ("postgresql://u:hunter2@[::1]:7/x", "[::1]:7/x"),
        ("postgresql://u:hunter2@[::1]/x", "[::1]:5432/x"),
        ("postgresql:///x?host=::1&port=7&password=hunter2", "[::1]:7/x"),
        ("postgresql://postgres@/zvt?host=/tmp/socket", "/tmp/socket/zvt"),
        ("postgresql://?host=h&dbname=y&password=hunter2", "h:5432/y"),
        (f"postgresql://u:{'h@nter2'}@db/x", "db:5432/x"),
        ("postgresql://u:hunter2/3@db/x", "the database of the settings"),
        (f"postgresql://u:{'hunter2?3'}@db/x", "the database of the settings"),
        (f"postgresql://u:{'hunter2#3'}@db/x", "the database of the settings"),
        (f"postgresql://u:{'h@nter2/3'}@db/x", "the database of the settings"),
        ("postgresql://u:hunter2@[db/x", "the database of the settings"),
    ],
)
def test_a_place_is_host_port_and_database(url: str, place: str) -> None:
    assert place_of(url) == place


async def test_what_cannot_be_reached_is_named_without_the_password() -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/x"
    for reach in (migrate, open_store):
        with pytest.raises(StoreUnavailable, match=r"database at 127\.0\.0\.1:1/x: connection refused") as refused:
            await reach(url)
        assert "hunter2" not in str(refused.value)
