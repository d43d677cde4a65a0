"""What an earlier server left behind after a kill -9: living processes, a stale pid file.

A pid file, or the lock file beside the socket, alone is never believed: its number may belong to
somebody else by now. A process counts as this cluster's when it works inside PGDATA (Linux: every
PostgreSQL process does) or when its command line names PGDATA (elsewhere).
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from config.postgres.binaries import DatabaseUnavailable

FAST_SECONDS = 60.0
LAST_SECONDS = 5.0


def clear_leftovers(data: Path, *locks: Path) -> None:
    """Stop in order whatever still runs on ``data``, then remove a pid file that nobody owns.

    ``locks`` are other files of this cluster that name its process: PostgreSQL would refuse to start
    when any process has that number, be it only one that is dead and waits for its parent.
    """
    pid_file = data / "postmaster.pid"
    if not data.exists():
        return
    _stop_all(data, _recorded_pid(pid_file))
    if remaining := processes_of(data):
        raise DatabaseUnavailable(
            f"An earlier PostgreSQL still works on {data} and does not end (process "
            f"{', '.join(map(str, remaining))}). End it, then start again."
        )
    for file in (pid_file, *locks):
        file.unlink(missing_ok=True)


def processes_of(data: Path) -> list[int]:
    """The living PostgreSQL processes of this cluster."""
    if sys.platform == "linux":
        return [pid for pid in _all_pids() if _works_in(pid, data)]
    return _named_in_command_lines(data)


def _stop_all(data: Path, postmaster: int | None) -> None:
    """Fast shutdown through the postmaster; orphans without one have nothing left to save."""
    found = processes_of(data)
    if postmaster in found:
        _signal([postmaster], signal.SIGINT)
        if _gone(data, FAST_SECONDS):
            return
    for number in (signal.SIGQUIT, signal.SIGKILL):
        _signal(processes_of(data), number)
        if _gone(data, LAST_SECONDS):
            return


def _gone(data: Path, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while processes_of(data):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _recorded_pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _works_in(pid: int, data: Path) -> bool:
    try:
        inside = Path(f"/proc/{pid}/cwd").samefile(data)
        program = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return inside and program == "postgres" and state != "Z"


def _named_in_command_lines(data: Path) -> list[int]:
    listing = subprocess.run(["ps", "-axo", "pid=,args="], capture_output=True, text=True)
    rows = [line.strip().partition(" ") for line in listing.stdout.splitlines()]
    return [int(pid) for pid, _, args in rows if f"-D {data} " in f"{args} " and "postgres" in args]
