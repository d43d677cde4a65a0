"""A backup of a million executions while senders send as fast as they can, and its restore."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.backup.archive import Archive
from tests.bench import load
from tests.bench.bench import Bench
from tests.bench.posts import CONNECTIONS, send
from tests.bench.site import ROOT, Site
from tests.figures import Figure

EXECUTIONS = 1_000_000
RESTORE_SECONDS = 600.0


@dataclass(frozen=True)
class _Backup:
    """What was measured of a backup: the senders' report, and whether nothing is missing."""

    seconds: float
    report: load.Report
    is_whole: bool
    megabytes: float


def measure(bench: Bench) -> Iterator[Figure]:
    """Fill, send without and with a backup, restore into an empty place, recount."""
    executions = min(EXECUTIONS, max(bench.sizes))
    bench.site.fill("history", executions)
    usual = send(bench, bench.seconds * bench.repeats)
    folder = Path(tempfile.mkdtemp(prefix="flowwatch-bench-backup-"))
    folder.chmod(0o711)  # the restored database's own user has to pass through
    try:
        file = folder / "bench.backup"
        backup = _back_up(bench, file)
        yield _figure_of(backup, usual, executions)
        yield _restore(bench.site, file, folder / "restored")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _back_up(bench: Bench, file: Path) -> _Backup:
    """Beside senders, a few seconds at a time, until it is written."""
    before = _stored(bench.site)
    begun = time.perf_counter()
    backup = _command(bench.site.environment, "backup", str(file))
    report = load.Report.empty()
    while backup.poll() is None:
        report.add(send(bench, bench.seconds))
    seconds = time.perf_counter() - begun
    if backup.returncode != 0:
        raise RuntimeError(f"the backup ended with status {backup.returncode}")
    is_whole = Archive(file).manifest.rows["monitoring_execution"] >= before
    return _Backup(seconds, report, is_whole, file.stat().st_size / 1e6)


def _figure_of(backup: _Backup, usual: load.Report, executions: int) -> Figure:
    p99, usual_p99 = backup.report.percentile(99), usual.percentile(99)
    return Figure(
        section="upkeep", line="backup under full ingest",
        target="0 errors, p99 at most twice its usual, all that was acknowledged before it began is in it",
        reached=f"{backup.report.errors} errors, p99 {p99:.0f} ms, usually {usual_p99:.0f} ms,"
        f" {'nothing' if backup.is_whole else 'SOMETHING'} missing;"
        f" {backup.seconds:.0f} s, {backup.megabytes:,.0f} MB",
        met=not backup.report.errors and p99 <= 2 * usual_p99 and backup.is_whole,
        sizes=f"{executions:,} executions, {CONNECTIONS} connections sending",
    )  # fmt: skip


def _restore(site: Site, file: Path, data: Path) -> Figure:
    """Into a data folder of its own; the restore itself compares the rows of each table."""
    environment = {**site.environment, "FLOWWATCH_DATA": str(data)}
    begun = time.perf_counter()
    restored = _command(environment, "restore", str(file)).wait() == 0
    seconds = time.perf_counter() - begun
    are_equal = restored and _command(environment, "verify_rollups").wait() == 0
    executions = Archive(file).manifest.rows["monitoring_execution"]
    return Figure(
        section="upkeep", line="restore into an empty place",
        target="1 million executions in 10 minutes; rows and rollups equal",
        reached=f"{seconds:.0f} s; rows and rollups {'equal' if are_equal else 'DIFFER'}",
        met=are_equal and seconds <= RESTORE_SECONDS,
        sizes=f"{executions:,} executions with nodes",
    )  # fmt: skip


def _command(environment: dict[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
    )


def _stored(site: Site) -> int:
    """Executions that are committed, and so all that were acknowledged."""
    with site.database() as database:
        [(count,)] = database.execute("SELECT count(*) FROM monitoring_execution").fetchall()
        return int(count)
