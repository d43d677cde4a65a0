"""Whatever the server does: the workflow goes on, the sum holds, nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import proxy as bad
import pytest
from proxy import Behaviour, Proxy
from trial import Product, Trial, in_client_faults

pytestmark = pytest.mark.processes

QUICK = [bad.absent, bad.losing_answers, bad.garbage]
LONG = [
    bad.killed_in_the_middle,
    bad.hanging,
    bad.dripping,
    bad.cutting_answers,
    bad.broken,
    bad.storing_but_broken,
    bad.too_many,
    bad.random_bytes,
    bad.cut_json,
    bad.answering_for_other_lines,
    bad.leaving_lines_out,
    bad.redirecting,
    bad.unwilling,
]


@pytest.mark.parametrize(
    "behaviour",
    [*QUICK, *(pytest.param(each, marks=in_client_faults) for each in LONG)],
    ids=lambda each: each.__name__,
)
def test_nothing_is_lost_or_doubled(
    product: Product, proxy: Proxy, tmp_path: Path, behaviour: Behaviour
) -> None:
    trial = Trial(product, proxy, tmp_path, exit_seconds=1.0)
    proxy.behaviour = behaviour
    trial.run()
    assert proxy.requests or behaviour in (bad.absent, bad.killed_in_the_middle)
    assert trial.counts().sent == 0
    assert trial.look() == set()
    trial.deliver()
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted


def test_too_large_bodies_are_divided_until_they_are_taken(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, pause=0.0, flush=20.0)
    proxy.behaviour = bad.too_large
    trial.run()
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.sent == counts.accepted


def test_what_is_refused_for_good_is_kept_as_such(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path, flush=20.0)
    proxy.behaviour = bad.refusing
    trial.run()
    assert trial.look() == set()
    counts = trial.counts()
    assert counts.dead == counts.accepted
    assert trial.query("SELECT DISTINCT reason FROM dead_letters") == [("422 as the test wants",)]
    trial.deliver()
    assert trial.look() == set()


def test_one_refused_node_takes_no_other_with_it(
    product: Product, proxy: Proxy, tmp_path: Path
) -> None:
    trial = Trial(product, proxy, tmp_path)
    trial.run(url="")
    trial.execute("UPDATE node_executions SET status = 'never heard of' WHERE id = 2")
    trial.deliver()
    assert trial.look() == set()
    records = trial.query("SELECT count(*) FROM dead_letters WHERE node_row = 2")
    counts = trial.counts()
    assert (counts.dead, counts.sent) == (records[0][0], counts.accepted - records[0][0])
    assert counts.dead > 0
