"""The wall clock may be set at any time."""

from __future__ import annotations

from pathlib import Path

import proxy as bad
import pytest
from proxy import Exchange, Proxy
from trial import Product, Trial

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("seconds", [-7200.0, 7200.0], ids=["back", "forward"])
def test_a_clock_that_is_set_changes_nothing(
    product: Product, proxy: Proxy, tmp_path: Path, seconds: float
) -> None:
    trial = Trial(product, proxy, tmp_path, flush=0.0)
    set_clock_while_it_pauses(trial, seconds)
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted


def set_clock_while_it_pauses(trial: Trial, seconds: float) -> None:
    """The server asks for some patience; meanwhile the clock is set; then everything is taken."""

    def patience(each: Exchange) -> None:
        trial.proxy.behaviour = bad.fair
        bad.too_many(each, seconds=3)

    trial.proxy.behaviour = patience
    trial.run(executions=6, nodes=2, pause=0.3, clock=seconds, exit_seconds=5.0)


def test_what_is_told_after_the_clock_was_set_back_is_newer(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path)
    set_clock_in_a_node(trial)
    assert trial.look() == set()


def set_clock_in_a_node(trial: Trial) -> None:
    """A node is told as running, then the clock goes back two hours, then it is told as done.

    At that time the next one runs, so that the execution is not finished.
    """
    trial.run(executions=1, nodes=2, pause=1.0, clock_in_node=-7200.0, exit_seconds=10.0)
