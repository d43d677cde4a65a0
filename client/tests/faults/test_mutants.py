"""Each test of faults would see the fault that it is for. `make client-faults` runs them all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import proxy as bad
import pytest
from proxy import Behaviour, Proxy
from test_clock import set_clock_in_a_node, set_clock_while_it_pauses
from test_disks import LOCKED_SECONDS, lock_while_it_works, run_with_files_that_may_not_grow
from test_exits import MARGIN_SECONDS, seconds_to_end
from test_kills import kill_while_it_works
from test_sharing import doubled, share
from trial import Product, Trial, in_client_faults

pytestmark = pytest.mark.processes

MakeTrial = Callable[..., Trial]


@pytest.fixture
def trial_of(product: Product, proxy: Proxy, tmp_path: Path) -> MakeTrial:
    """`trial_of(mutant, **work)`."""

    def make(mutant: str, **work: object) -> Trial:
        return Trial(product, proxy, tmp_path, mutant=mutant, **work)

    return make


@pytest.mark.parametrize(
    ("mutant", "behaviour", "complaint"),
    [
        ("count-first", bad.absent, "what counts as sent is not on the server"),
        pytest.param(
            "any-200",
            bad.garbage,
            "what counts as sent is not on the server",
            marks=in_client_faults,
        ),
        pytest.param(
            "any-results",
            bad.answering_for_other_lines,
            "what counts as sent is not on the server",
            marks=in_client_faults,
        ),
        pytest.param(
            "any-results",
            bad.leaving_lines_out,
            "what counts as sent is not on the server",
            marks=in_client_faults,
        ),
        pytest.param("slow-writer", bad.hanging, "the workflow was slowed", marks=in_client_faults),
    ],
)
def test_bad_servers(
    trial_of: MakeTrial, proxy: Proxy, mutant: str, behaviour: Behaviour, complaint: str
) -> None:
    trial = trial_of(mutant, exit_seconds=1.0, executions=1)
    proxy.behaviour = behaviour
    trial.run()
    assert complaint in trial.look()


def test_lost_answers_would_show_messages_without_id(trial_of: MakeTrial, proxy: Proxy) -> None:
    trial = trial_of("no-id", exit_seconds=2.0)
    proxy.behaviour = bad.losing_answers
    trial.run()
    trial.deliver()
    assert "the server has what nobody wrote" in trial.look()


@in_client_faults
def test_refusals_would_show_what_is_refused_with_others(trial_of: MakeTrial, proxy: Proxy) -> None:
    trial = trial_of("dead-at-once", pause=0.0, flush=10.0)
    proxy.behaviour = bad.too_large
    trial.run()
    assert trial.counts().dead > 0


@in_client_faults
def test_refusals_would_show_nodes_that_are_refused_with_others(trial_of: MakeTrial) -> None:
    trial = trial_of("")
    trial.run(url="")
    trial.execute("UPDATE node_executions SET status = 'never heard of' WHERE id = 2")
    trial.run(mutant="dead-together", flush=10.0, executions=1)
    assert trial.counts().dead > 2


def test_sharing_would_show_two_senders_at_once(trial_of: MakeTrial, proxy: Proxy) -> None:
    trial = trial_of("no-turn", forks=2, exit_seconds=10.0)
    share(trial)
    assert doubled(proxy) > 0


@in_client_faults
def test_sharing_would_show_children_that_rely_on_their_parents_threads(
    trial_of: MakeTrial,
) -> None:
    trial = trial_of("shared-threads", nodes=2, exit_seconds=3.0)
    trial.run(orphan=True)
    trial.wait_until(lambda: trial.ledger_size() > 0, 20, "it did not begin")
    trial.wait_until(lambda: trial.counts().sent == trial.counts().accepted, 8, "not sent")
    assert "not sent" in trial.complaints


@in_client_faults
def test_clocks_would_show_pauses_by_the_clock_on_the_wall(trial_of: MakeTrial) -> None:
    trial = trial_of("wall-clock")
    set_clock_while_it_pauses(trial, -7200.0)
    assert trial.counts().sent < trial.counts().accepted


def test_clocks_would_show_messages_that_seem_older(trial_of: MakeTrial) -> None:
    trial = trial_of("forgetful-clock")
    set_clock_in_a_node(trial)
    assert "what counts as sent is not on the server" in trial.look()


@in_client_faults
def test_disks_would_show_trouble_that_reaches_the_workflow(trial_of: MakeTrial) -> None:
    trial = trial_of("loud-writer", promised=False)
    run_with_files_that_may_not_grow(trial)
    assert "the workflow failed" in trial.complaints


@in_client_faults
def test_disks_would_show_ids_of_rows_that_were_never_stored(trial_of: MakeTrial) -> None:
    trial = trial_of("early-ids", promised=False, exit_seconds=10.0)
    run_with_files_that_may_not_grow(trial)
    assert trial.counts().accepted < trial.rows()


@in_client_faults
def test_disks_would_show_rows_that_each_wait_for_a_lock(trial_of: MakeTrial) -> None:
    trial = trial_of("stubborn-writer", promised=False)
    lock_while_it_works(trial)
    assert trial.printed[-1]["waited"] > LOCKED_SECONDS - 1


def test_kills_would_show_rows_that_only_seem_accepted(trial_of: MakeTrial) -> None:
    trial = trial_of("lazy-writer", pause=0.005)
    for _ in range(3):
        kill_while_it_works(trial)
    assert "what was accepted is not in the file" in trial.look()


@in_client_faults
def test_exits_would_show_a_deadline_that_is_not_kept(trial_of: MakeTrial) -> None:
    trial = trial_of("patient-exit", pause=0.0, executions=2, exit_seconds=1.0)
    assert seconds_to_end(trial) > 1.0 + MARGIN_SECONDS


@in_client_faults
def test_exits_would_show_what_is_left_in_the_buffer(trial_of: MakeTrial) -> None:
    trial = trial_of("forgetful-exit", buffered=True, pause=0.0, executions=2)
    trial.run()
    trial.wait_until(trial.path.exists, 1, "nothing was written at all")
    assert "nothing was written at all" in trial.complaints or (
        trial.counts().accepted < trial.rows()
    )
