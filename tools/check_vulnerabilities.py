"""Look for known vulnerabilities of what is locked; offline, say that it was skipped."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What pip-audit prints when its database can't be reached, as opposed to when it found something.
UNREACHABLE = ("ConnectionError", "ServiceError", "Max retries", "Temporary failure", "Timeout")


def main() -> int:
    """Exit status 1 only for a vulnerability that was found."""
    audit = subprocess.run(
        [
            str(Path(sys.executable).parent / "pip-audit"),
            "--requirement",
            str(ROOT / "requirements" / "dev.txt"),
            "--require-hashes",
            "--disable-pip",
            "--progress-spinner=off",
            "--timeout=10",
        ],
        capture_output=True,
        text=True,
    )
    if audit.returncode == 0:
        print("No known vulnerabilities in what is locked.")
        return 0
    if any(mark in audit.stderr for mark in UNREACHABLE):
        print("Known vulnerabilities: skipped, the database of advisories can't be reached.")
        return 0
    print(audit.stdout + audit.stderr, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
