"""Rules that no linter holds: no secrets, no package hosts, no paths of a machine, nothing left unfinished, no heavy files.

Reads the files that git tracks. Prints `file:line: rule: text` and exits 1 on the first kind of trouble; silent when all is well.
A line that must break a rule says so: `repo-rules: allow`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
MOST_BYTES = 1_000_000  # recorded frames live outside of the repository; the fixtures are small

# Written with a class of one letter, so that this file does not trip over itself.
EVERYWHERE = {
    "package host": r"pyp[i]\.org|pythonhosted\.or[g]|npmj[s]\.org|registry\.yarnpk[g]|deb\.debia[n]\.org",
    "package index": r"--(?:extra-)?index-ur[l]|extra-index-ur[l]|--find-link[s]|\"resolve[d]\":",
    "private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KE[Y]-----",
    "cloud key": r"\b(?:AKI[A]|ASI[A])[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[bap]-[0-9A-Za-z-]{20,}",
    "secret in an assignment": (
        r"(?i)\b(?:api_?key|api_?secret|secret(?:_key)?|passw(?:or)?d|token)\b[\"']?\s*[:=]\s*[\"'][A-Za-z0-9+/_\-]{20,}[\"']"
    ),
    "password in an address": r"[a-z][a-z0-9+]*://[^\s:/@\"'`<>{}]+:(?!\*|secret@|password@|wrong@|hunter2@|pw@|p%40ss)[^\s:/@\"'`<>{}]+@",
    "path of a machine": r"(?<![\w.])/(?:home|Users)/[a-z][\w-]*/|(?<![\w.])/(?:root|work)/\w",
}
IN_CODE = {
    "unfinished": r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|NotImplementedErro[r]",
    "test switched off without a reason": r"pytest\.mark\.(?:skip|xfail)(?:\(\s*\)|\s*$)|pytest\.(?:skip|xfail)\(\s*\)",
}
IN_LOCKS = {"address in a lock file": r"https?:/[/]"}


def main() -> int:
    """Check every tracked file."""
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=False)
    if tracked.returncode != 0:
        print("repo rules: not a git checkout, nothing to check")
        return 0
    troubles = [trouble for name in tracked.stdout.split("\0") if name and (REPO / name).is_file() for trouble in check(REPO, name)]
    for trouble in troubles:
        print(trouble)
    return 1 if troubles else 0


def check(root: Path, name: str) -> Iterator[str]:
    """The troubles of one file."""
    path = root / name
    if path.stat().st_size > MOST_BYTES:
        yield f"{name}: heavy file: {path.stat().st_size} bytes, over {MOST_BYTES}"
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        return
    rules = dict(EVERYWHERE)
    if name.endswith((".py", ".sh", ".toml")) or "/" not in name:
        rules |= IN_CODE
    if re.search(r"requirements.*\.txt$|\.lock$|package-lock", name):
        rules |= IN_LOCKS
    patterns = [(rule, re.compile(pattern)) for rule, pattern in rules.items()]
    for number, line in enumerate(text.splitlines(), 1):
        if "repo-rules: allow" in line:
            continue
        for rule, pattern in patterns:
            found = pattern.search(line)
            if found:
                yield f"{name}:{number}: {rule}: {found[0][:60]}"


if __name__ == "__main__":
    sys.exit(main())
