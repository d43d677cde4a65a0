"""A disk that is full or can't be written: the workflow goes on, and what was taken is sent."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from proxy import Proxy
from trial import Product, Trial, in_client_faults

pytestmark = pytest.mark.processes
LOCKED_SECONDS = 6.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")


def test_files_that_may_not_grow(product: Product, proxy: Proxy, tmp_path: Path) -> None:
    trial = Trial(product, proxy, tmp_path, promised=False, exit_seconds=10.0)
    run_with_files_that_may_not_grow(trial)
    assert trial.look() == set()
    counts = trial.counts()
    # What was kept in memory is taken when there is room again.
    assert counts.sent == counts.accepted == trial.rows()
    assert trial.printed[-1]["lost"] == 0


def run_with_files_that_may_not_grow(trial: Trial) -> None:
    """No file may be larger than 300 KB in the first half of the work."""
    trial.run(executions=20, value="x" * 10_000, pause=0.02, file_limit=300_000, flush=10.0)


@as_root
def test_a_full_disk(product: Product, proxy: Proxy, tmp_path: Path) -> None:
    with small_disk(tmp_path / "log"):
        ballast = tmp_path / "log" / "ballast"
        ballast.write_bytes(bytes(500_000))
        trial = Trial(product, proxy, tmp_path, promised=False, exit_seconds=2.0)
        trial.run(executions=20, value="x" * 10_000, pause=0.0, url="")
        assert trial.counts().accepted < trial.rows()
        trial.run(executions=5)
        assert trial.look() == set()
        ballast.unlink()
        trial.deliver()
        assert trial.look() == set()


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that others than root may reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_can_not_be_written(
    product: Product, proxy: Proxy, open_folder: Path, mode: int
) -> None:
    trial = Trial(product, proxy, open_folder, promised=False)
    Path(trial.work.ledger).touch()
    Path(trial.work.ledger).chmod(0o666)
    trial.path.parent.chmod(mode)
    trial.run(as_nobody=os.geteuid() == 0)
    trial.path.parent.chmod(0o755)
    assert trial.complaints == set()
    assert not trial.path.exists()


def test_a_file_that_becomes_read_only(product: Product, proxy: Proxy, open_folder: Path) -> None:
    trial = Trial(product, proxy, open_folder, promised=False)
    trial.run(url="")
    accepted = trial.counts().accepted
    Path(trial.work.ledger).chmod(0o666)
    for each in trial.path.parent.iterdir():
        each.chmod(0o444)
    trial.path.parent.chmod(0o555)
    trial.run(as_nobody=os.geteuid() == 0)
    for each in trial.path.parent.iterdir():
        each.chmod(0o644)
    trial.path.parent.chmod(0o755)
    assert trial.counts().accepted == accepted
    assert trial.complaints == set()


# Its bound on what the workflow waits is missed now and then: it needs the machine for itself.
@in_client_faults
def test_a_log_that_another_process_has_locked(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    """The workflow waits for it once, not with each row."""
    trial = Trial(product, proxy, tmp_path, promised=False, exit_seconds=10.0)
    lock_while_it_works(trial)
    trial.deliver()  # at its exit the process tries once
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted == trial.rows()
    assert trial.printed[-1]["lost"] == 0
    assert trial.printed[-1]["waited"] < LOCKED_SECONDS - 1


def lock_while_it_works(trial: Trial) -> None:
    """Another process begins to write and does not go on."""
    trial.run(executions=1, mutant="")
    running = trial.start(executions=20, pause=0.05)
    trial.wait_until(lambda: len(trial.query("SELECT 1 FROM executions")) > 3, 20, "no start")
    other = sqlite3.connect(trial.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    time.sleep(LOCKED_SECONDS)
    other.execute("ROLLBACK")
    other.close()
    trial.finish(running)
