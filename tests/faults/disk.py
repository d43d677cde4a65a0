"""A disk that fills up under load, to the last byte, and is emptied again (research: row 8)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg

from tests.config.trees import PATIENCE, wait_for
from tests.faults.ledger import Call, Ledger, load
from tests.faults.product import Audit, Product
from tests.faults.trials import NotTried, Outcome

MEGABYTE = 1024 * 1024
DISK_MEGABYTES = 512
WARN, STOP = 85, 95
BACK_SECONDS = 30.0
SAID_SECONDS = 20.0
SETTLE_SECONDS = 3.0
"""What was begun before the disk was full may be answered after."""


# Where its log finds no room PostgreSQL ends itself; a table that can't grow is only an error.
_FILL_LOG = (
    "SELECT count(pg_logical_emit_message(false, 'faults', repeat('x', 1000000)))"
    " FROM generate_series(1, 600)"
)


class OnSmallDisk(Product):
    """The product with its data folder on a disk of its own in memory (Linux, root)."""

    def __init__(self, *, mutant: str = "") -> None:
        super().__init__(mutant=mutant)
        size = f"size={DISK_MEGABYTES}m,mode=711"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(self.home)], check=True)

    @property
    def ballast(self) -> Path:
        """What somebody else puts there."""
        return self.home / "ballast"

    def percent_used(self) -> float:
        """As the product counts."""
        disk = os.statvfs(self.home)
        return 100 * (1 - disk.f_bavail / disk.f_blocks)

    def fill(self, percent: float) -> None:
        """Put something there until so much is used; until nothing fits any more for 100."""
        with self.ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while self.percent_used() < percent:
                file.write(bytes(MEGABYTE))
                time.sleep(0.02)

    def throw_away(self) -> None:
        self.ballast.unlink(missing_ok=True)
        self.kill_what_lives()
        subprocess.run(["umount", str(self.home)], check=True)
        super().throw_away()


def _can_mount() -> bool:
    """Whether a small disk can be made here."""
    return os.geteuid() == 0 and Path("/proc/self/mounts").exists()


@contextlib.contextmanager
def on_small_disk(mutant: str = "") -> Iterator[OnSmallDisk]:
    tree = OnSmallDisk(mutant=mutant)
    try:
        tree.begin()
        yield tree
    finally:
        tree.throw_away()


def fill_the_disk(_: int = 1, mutant: str = "", full_seconds: float = 10.0) -> Outcome:
    """Fill it under load to 95 % and to the last byte, end PostgreSQL by that, make room again."""
    if not _can_mount():
        raise NotTried("only root, and only on Linux, can make a small disk")
    ledger, faults = Ledger(), []
    with on_small_disk(mutant) as running, load(ledger, running.port, running.token):
        ledger.goes_on(200)
        faults += _filled_to_stop(running, ledger, full_seconds)
        faults += _filled_to_the_last_byte(running, full_seconds)
        running.ballast.unlink()
        emptied, before = time.monotonic(), len(ledger.acknowledged)
        with contextlib.suppress(AssertionError):
            wait_for(lambda: len(ledger.acknowledged) > before, PATIENCE, "stored again")
        back = time.monotonic() - emptied
        ledger.goes_on(200)
        ledger.stop.set()
        audit = Audit(running, ledger).outcome()
    most = {"s until stored again": round(back, 1)}
    late = [f"stored again only after {back:.0f} s"] if back > BACK_SECONDS else []
    return Outcome(audit.tally, most, [*faults, *audit.faults], [*late, *audit.late])


def _filled_to_stop(running: OnSmallDisk, ledger: Ledger, seconds: float) -> list[str]:
    """Between 95 % and full nothing is stored, and everything is read."""
    faults = []
    for percent, state in ((WARN, "nearly full"), (STOP, "full")):
        running.fill(percent + 0.5)
        faults += _unsaid(running, f"the database's disk is {state} ")
    full = time.monotonic() + SETTLE_SECONDS
    time.sleep(SETTLE_SECONDS + seconds)
    calls = [call for call in ledger.calls if call.begun > full]
    faults += _wrongly_answered(calls)
    headers = {"Authorization": f"Bearer {running.token}"}
    read = httpx.get(f"{running.url}/api/executions", headers=headers, timeout=10)
    if read.status_code != 200:
        faults.append(f"reading is answered {read.status_code}")
    return faults


def _unsaid(running: OnSmallDisk, words: str) -> list[str]:
    """What the log does not say in time."""
    try:
        wait_for(lambda: words in running.log.read_text(), SAID_SECONDS, words)
    except AssertionError:
        return [f"the log does not say: {words.strip()}"]
    return []


def _wrongly_answered(calls: list[Call]) -> list[str]:
    """What is no refusal that says when to come again."""
    faults = []
    if not calls:
        faults.append("nobody was answered")
    if stored := sum(call.status in (200, 201) for call in calls):
        faults.append(f"{stored} calls stored on a full disk")
    wrong = {call.status for call in calls} - {200, 201, 503}
    if wrong:
        faults.append(f"answered {sorted(wrong)}")
    if any(call.status == 503 and not call.retry_after for call in calls):
        faults.append("refused without Retry-After")
    return faults


def _filled_to_the_last_byte(running: OnSmallDisk, seconds: float) -> list[str]:
    """Somebody writes until PostgreSQL ends for want of room; the supervisor and the web live on."""
    running.fill(100)
    postmaster = running.postmaster()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(psycopg.Error):
            running.query(_FILL_LOG)
        time.sleep(0.5)
    alive = running.process is not None and running.process.poll() is None
    live = httpx.get(f"{running.url}/health/live", timeout=10).status_code
    return [
        *([] if alive else ["the supervisor ended"]),
        *([] if postmaster not in running.postgres() else ["PostgreSQL lived on: it had room"]),
        *([] if live == 200 else [f"/health/live is answered {live}"]),
    ]
