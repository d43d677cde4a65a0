"""A client that is killed loses nothing that its log had taken, and doubles nothing."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import proxy as bad
import pytest
from proxy import Proxy
from trial import KILLS, Product, Trial

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_kills_while_it_writes_and_sends(
    product: Product, proxy: Proxy, tmp_path: Path, number: signal.Signals
) -> None:
    """One log outlives all kills; every third time answers get lost as well."""
    trial = Trial(product, proxy, tmp_path, pause=0.005)
    for count in range(KILLS if number == signal.SIGKILL else KILLS // 3):
        proxy.behaviour = bad.losing_answers if count % 3 == 2 else bad.fair
        kill_while_it_works(trial, number)
        # Asking the server for everything takes longer and longer.
        assert trial.look(at_server=count % 10 == 0) == set()
    trial.deliver()
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted


def kill_while_it_works(trial: Trial, number: signal.Signals = signal.SIGKILL) -> None:
    """Kill it at any moment from its first row on."""
    before = trial.ledger_size()
    running = trial.start(executions=10_000)
    trial.wait_until(lambda: trial.ledger_size() > before, 20, "it did not begin")
    time.sleep(random.uniform(0.0, 0.3))
    running.process.send_signal(number)
    running.process.communicate()
    assert running.process.returncode == -number
