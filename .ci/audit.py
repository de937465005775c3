"""The lock files against a vulnerability database, through pip-audit; says so, and passes, where no database can be reached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
OFFLINE = (
    "ConnectionError",
    "Connection refused",
    "Max retries exceeded",
    "ConnectTimeout",
    "ReadTimeout",
    "NameResolutionError",
    "ProxyError",
    "ServiceError",
)


def main() -> int:
    """0: nothing known, or offline. 1: a vulnerable package, or an audit that failed for another reason."""
    worst = 0
    for lock in ("requirements.txt", "requirements-dev.txt"):
        said = subprocess.run(
            [
                sys.executable,
                "-m",
                "pip_audit",
                "--require-hashes",
                "--disable-pip",
                "--progress-spinner",
                "off",
                "--timeout",
                "10",
                "-r",
                lock,
            ],
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        text = said.stdout + said.stderr
        if said.returncode != 0 and not said.stdout.strip() and any(word in text for word in OFFLINE):
            print(f"{lock}: offline, no vulnerability database within reach: not audited")
            continue
        print(f"{lock}: {text.strip().splitlines()[-1] if said.returncode == 0 and text.strip() else text.strip()}")
        worst = max(worst, 1 if said.returncode else 0)
    return worst


if __name__ == "__main__":
    sys.exit(main())
