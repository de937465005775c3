"""What all tests share: where the recorded data is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests"))
pytest_plugins = ["stores_fixtures"]


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
