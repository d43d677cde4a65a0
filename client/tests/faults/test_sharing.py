"""Several processes on one log: nothing is lost, nothing is sent by two at once."""

from __future__ import annotations

from pathlib import Path

import proxy as bad
import pytest
from proxy import Proxy
from trial import Product, Trial

pytestmark = pytest.mark.processes


def test_two_processes_and_their_children_share_one_log(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, forks=2, exit_seconds=10.0)
    share(trial)
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted >= 2 * 3 * (5 * (2 + 4))
    assert doubled(proxy) == 0


def share(trial: Trial) -> None:
    """Two processes with two children each work at once; each request takes a while."""
    trial.proxy.behaviour = bad.slow
    both = [trial.start(), trial.start()]
    for each in both:
        trial.finish(each)


def doubled(proxy: Proxy) -> int:
    """How many states of nodes were told twice."""
    return len(proxy.told) - len({*proxy.told})


def test_a_child_sends_what_it_wrote_when_its_parent_is_gone(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, exit_seconds=10.0)
    trial.run(orphan=True, nodes=2)
    trial.wait_until(lambda: trial.ledger_size() > 0, 20, "the child did not write")
    trial.wait_until(lambda: trial.counts().sent >= 5 * (2 + 2), 20, "the child did not send")
    assert trial.look() == set()
