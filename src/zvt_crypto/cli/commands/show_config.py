"""`show-config`: every setting as it is now."""

from __future__ import annotations

from zvt_crypto.cli import exits
from zvt_crypto.cli.out import print_json, print_table
from zvt_crypto.cli.settings import PREFIX, Settings, flat


def run_show_config(settings: Settings, *, redact: bool, as_json: bool) -> int:
    """Print all of them, passwords hidden unless asked otherwise."""
    rows = flat(settings, redact=redact)
    if as_json:
        print_json(rows)
        return exits.OK
    table = [
        {
            "setting": key,
            "value": ", ".join(map(str, value)) if isinstance(value, list) else value,
            "variable": PREFIX + key.upper().replace(".", "__"),
        }
        for key, value in rows.items()
    ]
    print_table(table, ["setting", "value", "variable"])
    return exits.OK
