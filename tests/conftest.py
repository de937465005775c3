"""What all tests share: where the recorded data is."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests"))
pytest_plugins = ["proof_figures", "stores_fixtures"]
_OWN_TEMP = pytest.StashKey[str]()


def recorded_root() -> Path | None:
    """`$ZVT_CRYPTO_TEST_DATA`, else `../shared/data` beside the checkout, else None."""
    named = os.environ.get("ZVT_CRYPTO_TEST_DATA")
    root = Path(named) if named else REPO.parent / "shared" / "data"
    return root if root.is_dir() else None


@pytest.fixture(scope="session")
def recorded() -> Path:
    """The folder of recorded exchange data; skips the test where it is absent."""
    root = recorded_root()
    if root is None:
        pytest.skip("recorded data absent: set ZVT_CRYPTO_TEST_DATA to its folder")
    return root


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """A folder for temporary files of this run alone: the usual one is closed to other users whenever some pytest starts, and root's
    PostgreSQL runs as another user."""
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = config.stash[_OWN_TEMP] = str(Path(tempfile.gettempdir()) / f"zvt-crypto-tests-{os.getpid()}")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave nothing."""
    if own := config.stash.get(_OWN_TEMP, None):
        shutil.rmtree(own, ignore_errors=True)
