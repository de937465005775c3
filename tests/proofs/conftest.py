"""The recordings as fixtures."""

from __future__ import annotations

import pytest

from proofs.proof_parts import SPOT, USDM, Recording


@pytest.fixture(params=[SPOT, USDM], ids=lambda r: r.name)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Both recordings of depth, quotes and trades."""
    return request.param  # type: ignore[no-any-return]
