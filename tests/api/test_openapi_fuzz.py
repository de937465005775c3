"""The API against its own document: generated requests, valid and not, on a real server; a fixed seed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from api.api_parts import BTC, NOW, Api, make_kline
from zvt_crypto.domain.market import BookSnapshot, Ticker

HELD = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
MODES = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)


def ask_all(url: str, mode: schemathesis.GenerationMode) -> dict[str, list[int]]:
    """Every operation with generated parameters; the statuses of its answers. Raises where an answer is not as documented."""
    document: Any = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = [found.ok() for found in document.get_all_operations()]
    if mode is schemathesis.GenerationMode.NEGATIVE:
        operations = [operation for operation in operations if list(operation.iter_parameters())]
    return {operation.path: ask_one(url, operation, mode) for operation in operations}


def ask_one(url: str, operation: Any, mode: schemathesis.GenerationMode) -> list[int]:
    """The statuses of one operation's answers."""
    statuses: list[int] = []

    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(base_url=url)
        case.validate_response(response, checks=HELD)
        statuses.append(response.status_code)

    ask()
    return statuses


@pytest.mark.parametrize("mode", MODES)
async def test_no_generated_request_breaks_the_server_and_every_answer_is_as_documented(api: Api, mode: Any) -> None:
    api.connector.book = BookSnapshot(BTC.id, 1, [(1.0, 1.0)], [(2.0, 1.0)], NOW, NOW)
    api.connector.ticker = Ticker(BTC.id, 1.0, None, None, None, None, None, None, None, NOW, NOW)
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z")], NOW)
    statuses = await asyncio.to_thread(ask_all, api.url, mode)
    if mode is schemathesis.GenerationMode.POSITIVE:
        assert len(statuses) == 9
        for path in ("exchanges", "pairs", "assets", "assets/search"):
            assert 200 in statuses[f"/api/v1/crypto/{path}"], statuses
