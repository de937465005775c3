"""The page of errors: codes are stable and unique, messages name the value and stay on one line."""

from __future__ import annotations

import inspect

from zvt_crypto.domain import errors


def classes() -> list[type[errors.ZvtCryptoError]]:
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.ZvtCryptoError)]


def test_every_error_has_a_code_of_its_own() -> None:
    codes = [c.code for c in classes()]
    assert len(codes) == len(set(codes)) > 20


def test_bad_input_is_also_a_value_error() -> None:
    assert issubclass(errors.UnknownSymbol, ValueError)


def test_a_value_in_a_message_cannot_break_the_line_or_flood_it() -> None:
    message = str(errors.UnknownSymbol("BTC\n\x1b[31mUSDT" + "x" * 500))
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 150


def test_messages_name_the_value_and_the_bounds() -> None:
    assert str(errors.OutOfRange("limit", 5000, 1, 1000)) == "limit '5000' is out of range: 1 to 1000"
    assert errors.Throttled("slow down", 1500).wait_ms == 1500
    assert str(errors.PortTaken("127.0.0.1", 8000)) == "port 8000 on 127.0.0.1 is taken by another process"
