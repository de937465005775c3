"""What the tests cover, room by room, after `coverage` has run; exits 1 when a room is below 90 %."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

LEAST = 90.0


def main() -> int:
    """Combine, sum by the first folder under src/zvt_crypto, print a table."""
    subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], check=False)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)], check=True)
        files = json.loads(report.read_text())["files"]
    covered: dict[str, int] = defaultdict(int)
    lines: dict[str, int] = defaultdict(int)
    for name, facts in files.items():
        parts = Path(name).parts
        inside = parts[parts.index("zvt_crypto") + 1 :]
        room = inside[0] if len(inside) > 1 else "(top)"
        covered[room] += facts["summary"]["covered_lines"]
        lines[room] += facts["summary"]["num_statements"]
    low = []
    for room in sorted(lines):
        share = 100.0 * covered[room] / lines[room] if lines[room] else 100.0
        low += [room] if share < LEAST else []
        print(f"{room:<12} {share:5.1f} %  of {lines[room]} lines{'   below ' + str(LEAST) if share < LEAST else ''}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
