"""The interpreter's end waits for sending as long as was set, no longer."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import proxy as bad
import pytest
from proxy import Proxy
from trial import Product, Trial, in_client_faults

pytestmark = pytest.mark.processes
MARGIN_SECONDS = 3.0
"""For starting and ending an interpreter on a busy machine."""


def test_the_exit_sends_what_waits(product: Product, proxy: Proxy, tmp_path: Path) -> None:
    trial = Trial(product, proxy, tmp_path, pause=0.0, executions=2, exit_seconds=20.0)
    trial.run()
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted
    assert trial.printed[-1]["seconds"] < 10


def test_a_hanging_server_holds_the_exit_for_the_set_time_only(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, pause=0.0, executions=2, exit_seconds=1.0)
    assert 1.0 <= seconds_to_end(trial) < 1.0 + MARGIN_SECONDS
    assert trial.look() == set()


def seconds_to_end(trial: Trial) -> float:
    trial.proxy.behaviour = bad.hanging
    trial.run()
    seconds: float = trial.printed[-1]["seconds"]
    return seconds


@in_client_faults
def test_without_time_the_exit_waits_for_nothing(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, pause=0.0, executions=2, exit_seconds=0.0)
    assert seconds_to_end(trial) < MARGIN_SECONDS
    trial.deliver()
    assert trial.look() == set()


def test_an_exit_by_sigterm_commits_what_is_buffered(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, buffered=True, exit_on_term=True, exit_seconds=5.0)
    running = trial.start(executions=10_000, pause=0.01)
    trial.wait_until(trial.path.exists, 20, "it did not begin")
    time.sleep(0.5)
    running.process.send_signal(signal.SIGTERM)
    text, _ = running.process.communicate(timeout=20)
    assert running.process.returncode == 0
    assert trial.counts().accepted == json.loads(text)["rows"]
    trial.deliver()
    assert trial.look() == set()
