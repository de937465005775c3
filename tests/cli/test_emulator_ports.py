"""Where several emulated exchanges listen."""

from __future__ import annotations

from zvt_crypto.cli.commands.emulator import ports_of


def test_each_exchange_has_ports_two_further_than_the_one_before() -> None:
    assert ports_of(9000, 9001, 3) == [(9000, 9001), (9002, 9003), (9004, 9005)]


def test_a_free_port_is_a_free_port_for_each() -> None:
    assert ports_of(0, 9001, 2) == [(0, 9001), (0, 9003)]
