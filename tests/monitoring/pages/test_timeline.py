"""The timeline: bars where the times say, waits apart from work, nothing invented."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from monitoring.models import Execution, NodeExecution, Workflow
from monitoring.pages.timeline import MOST_BARS, Timeline, first_in_sight, timeline_of
from monitoring.words import Status
from tenants.scoping import tenant_scope
from tests.monitoring.factories import (
    NodeSpec,
    make_execution,
)

pytestmark = pytest.mark.django_db
START = timezone.now().replace(microsecond=0) - dt.timedelta(minutes=10)
WAIT = {"type": "n8n-nodes-base.wait"}


def draw(execution: Execution, selected: str | None = None, now: dt.datetime = START) -> Timeline:
    with tenant_scope(execution.tenant):
        nodes = list(
            NodeExecution.objects.filter(execution_id=execution.id).order_by(
                "position", "run_index"
            )
        )
    return timeline_of(execution, nodes, now=now, url=lambda node: node.node_id, selected=selected)


def test_bars_stand_where_the_times_say(workflow: Workflow) -> None:
    nodes = [
        NodeSpec("a", starts_ms=0, duration_ms=2_000),
        NodeSpec("b", starts_ms=5_000, duration_ms=5_000),
    ]
    timeline = draw(make_execution(workflow, nodes=nodes, started_at=START, duration_ms=10_000))
    assert timeline.whole_ms == 10_000
    (first,), (second,) = (row.bars for row in timeline.rows)
    assert (first.x, first.width) == ("0.000%", "20.000%")
    assert (second.x, second.width) == ("50.000%", "50.000%")
    assert (timeline.work_ms, timeline.wait_ms, timeline.idle_ms) == (7_000, 0, 3_000)


def test_waits_are_apart_from_work_and_overlaps_count_once(workflow: Workflow) -> None:
    nodes = [
        NodeSpec("a", starts_ms=0, duration_ms=3_000),
        NodeSpec("b", starts_ms=1_000, duration_ms=3_000),
        NodeSpec("w", starts_ms=4_000, duration_ms=6_000, fields=WAIT),
    ]
    timeline = draw(make_execution(workflow, nodes=nodes, started_at=START, duration_ms=10_000))
    assert [bar.kind for row in timeline.rows for bar in row.bars] == ["work", "work", "wait"]
    assert (timeline.work_ms, timeline.wait_ms, timeline.idle_ms) == (4_000, 6_000, 0)


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        (NodeSpec("n", Status.PENDING, starts_ms=None, duration_ms=None), "not reached"),
        (NodeSpec("n", Status.SKIPPED, starts_ms=None, duration_ms=None), "skipped"),
        (NodeSpec("n", starts_ms=None, duration_ms=None), "times not sent"),
        (NodeSpec("n", starts_ms=None, duration_ms=400), "took 400 ms, start not sent"),
    ],
)
def test_a_node_without_times_says_why_it_has_no_bar(
    workflow: Workflow, spec: NodeSpec, note: str
) -> None:
    (row,) = draw(make_execution(workflow, nodes=[spec])).rows
    assert (row.bars, row.note) == ((), note)


def test_runs_of_a_node_share_a_row_that_leads_to_the_failed_one(workflow: Workflow) -> None:
    nodes = [
        NodeSpec("loop", run_index=run, starts_ms=run * 100, status=status)
        for run, status in enumerate([Status.SUCCESS, Status.FAILED, Status.SUCCESS])
    ]
    (row,) = draw(make_execution(workflow, nodes=nodes), selected="loop").rows
    assert (row.attempts, row.status, len(row.bars), row.is_selected) == (3, "failed", 3, True)
    assert row.duration_ms == 300


def test_very_many_runs_are_one_stretch(workflow: Workflow) -> None:
    nodes = [NodeSpec("loop", run_index=run, starts_ms=run * 10) for run in range(MOST_BARS + 1)]
    (row,) = draw(make_execution(workflow, nodes=nodes)).rows
    assert len(row.bars) == 1


def test_what_goes_on_reaches_to_now(workflow: Workflow) -> None:
    nodes = [NodeSpec("call", Status.RUNNING, starts_ms=0, duration_ms=None)]
    execution = make_execution(workflow, Status.RUNNING, nodes=nodes, started_at=START)
    timeline = draw(execution, now=START + dt.timedelta(seconds=30))
    assert timeline.whole_ms == 30_000
    assert timeline.rows[0].bars[0].width == "100.000%"


def test_clocks_that_disagree_give_no_negative_widths(workflow: Workflow) -> None:
    nodes = [NodeSpec("early", starts_ms=-60_000, duration_ms=10), NodeSpec("late", starts_ms=0)]
    timeline = draw(make_execution(workflow, nodes=nodes, started_at=START))
    for row in timeline.rows:
        for bar in row.bars:
            assert 0 <= float(bar.x.rstrip("%")) <= 100
            assert 0 < float(bar.width.rstrip("%")) <= 100


def test_an_execution_without_any_time_is_drawn(workflow: Workflow) -> None:
    nodes = [NodeSpec("n", starts_ms=None, duration_ms=None)]
    execution = make_execution(workflow, nodes=nodes, duration_ms=None)
    execution.started_at = execution.completed_at = None
    timeline = draw(execution)
    assert timeline.whole_ms >= 1
    assert not timeline.axis_ms


@pytest.mark.parametrize(("place", "first"), [(0, 0), (19, 0), (20, 12), (90, 82)])
def test_a_selected_node_far_down_is_brought_into_sight(place: int, first: int) -> None:
    nodes = [NodeExecution(node_id=f"n{number}") for number in range(100)]
    assert first_in_sight(nodes, f"n{place}") == first
    assert first_in_sight(nodes, None) == 0
