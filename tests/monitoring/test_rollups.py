"""Folding deltas, and the verification that finds and repairs what is wrong."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.counting.histogram import Histogram
from monitoring.deletion import clear_workflow_step, delete_executions
from monitoring.metrics.node_lines import OTHER_NODES
from monitoring.metrics.nodes import node_totals
from monitoring.metrics.rollups import FOLD_LOCK, fold_deltas
from monitoring.metrics.statistics import workflow_statistics
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.verification import verify
from monitoring.models import (
    Execution,
    Level,
    NodeExecution,
    NodeRollup,
    Rollup,
    RollupDelta,
    Seal,
    Subject,
    Workflow,
)
from monitoring.words import Status
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import (
    make_environment,
    make_tenant,
    make_workflow,
    record_executions_of,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.store]

START = dt.datetime(2026, 3, 2, 9, 1, tzinfo=dt.UTC)


@pytest.fixture
def workflow() -> Workflow:
    return make_workflow(make_environment(make_tenant("acme")))


def some_history(workflow: Workflow) -> None:
    """Three executions on two days, one of which fails."""
    record(
        message(workflow, START, nodes=[node("fetch"), node("send", duration_ms=40)]),
        message(workflow, START + dt.timedelta(minutes=1), Status.FAILED, 2_000,
                nodes=[node("fetch", Status.FAILED, 30)]),
        message(workflow, START + dt.timedelta(days=1), duration_ms=None),
    )  # fmt: skip


def fold_all() -> None:
    while fold_deltas():
        continue


def counts_of(workflow: Workflow, level: Level, bucket: dt.datetime) -> list[int]:
    with tenant_scope(workflow.tenant):
        return Rollup.objects.get(
            subject_kind=Subject.WORKFLOW, subject_id=workflow.pk, level=level, bucket=bucket
        ).counts


def test_folding_fills_every_level_of_every_subject(workflow: Workflow) -> None:
    some_history(workflow)
    assert fold_deltas() == 2
    with tenant_scope(workflow.tenant):
        assert not RollupDelta.objects.exists()
        assert Rollup.objects.count() == 2 * 3 * 3
        assert NodeRollup.objects.count() == 2 * 2
        stored = NodeRollup.objects.get(node_id="fetch", level=Level.DAY)
    hour = START.replace(minute=0)
    assert counts_of(workflow, Level.HOUR, hour)[Status.SUCCESS] == 1
    assert counts_of(workflow, Level.DAY, hour.replace(hour=0))[Status.FAILED] == 1
    assert (int(stored.duration_sum), stored.duration_count) == (130, 2)


def test_folding_keeps_statistics_and_the_newest_name(workflow: Workflow) -> None:
    later = START + dt.timedelta(hours=1)
    record(message(workflow, later, workflow_name="Newer"))
    fold_all()
    record(message(workflow, START, Status.FAILED, workflow_name="Older"))
    with tenant_scope(workflow.tenant):
        [unfolded] = workflow_statistics([workflow]).values()
        fold_all()
        [folded] = workflow_statistics([workflow]).values()
        workflow.refresh_from_db()
    assert folded == unfolded
    assert (folded.execution_count, folded.success_count, folded.failure_count) == (2, 1, 1)
    assert folded.last_executed_at == later
    assert folded.average_duration_ms == 1_000
    assert workflow.name == "Newer"


def test_a_row_that_becomes_zero_is_deleted(workflow: Workflow) -> None:
    record(message(workflow, START))
    fold_all()
    with tenant_scope(workflow.tenant):
        delta = RollupDelta(
            tenant=workflow.tenant,
            environment_id=workflow.environment_id,
            workflow_id=workflow.pk,
            bucket=START.replace(minute=0),
            counts=[0, 0, 0, -1, 0, 0, 0, 0],
            duration_sums=[0, 0, 0, -1_000, 0, 0, 0, 0],
            duration_counts=[0, 0, 0, -1, 0, 0, 0, 0],
            error_classes=[0] * 10,
            histogram=_negated_histogram(),
            nodes=b"{}",
        )
        delta.save()
        fold_all()
        assert not Rollup.objects.exists()
        [found] = workflow_statistics([workflow]).values()
        assert found.execution_count == 0


def _negated_histogram() -> bytes:
    histogram = Histogram()
    histogram.add(1_000, -1)
    return histogram.pack()


def test_one_process_folds_at_a_time(workflow: Workflow) -> None:
    some_history(workflow)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [FOLD_LOCK])
        folded: list[int] = []

        def fold_elsewhere() -> None:
            folded.append(fold_deltas())
            connection.close()

        thread = threading.Thread(target=fold_elsewhere)
        thread.start()
        thread.join()
        cursor.execute("SELECT pg_advisory_unlock(%s)", [FOLD_LOCK])
    assert folded == [0]
    assert fold_deltas() == 2


def test_absurd_durations_do_not_stop_the_folding(workflow: Workflow) -> None:
    with across_tenants():
        for _ in range(3):
            RollupDelta.objects.create(
                tenant=workflow.tenant,
                environment_id=workflow.environment_id,
                workflow_id=workflow.pk,
                bucket=START.replace(minute=0),
                counts=[0, 0, 0, 1, 0, 0, 0, 0],
                duration_sums=[0, 0, 0, 2**62, 0, 0, 0, 0],
                duration_counts=[0, 0, 0, 1, 0, 0, 0, 0],
                error_classes=[0] * 10,
                histogram=b"",
                nodes=b"{}",
            )
    assert fold_deltas() == 3
    with tenant_scope(workflow.tenant):
        [found] = workflow_statistics([workflow]).values()
    assert found.average_duration_ms == pytest.approx(2**62)


def test_a_name_that_hiding_secrets_made_longer_does_not_stop_the_folding(
    workflow: Workflow,
) -> None:
    record_executions_of(workflow, 1)
    record_executions_of(workflow, 1, workflowName=("token=ab4d " * 30)[:250])
    while fold_deltas():
        pass
    with tenant_scope(workflow.tenant):
        name = Workflow.objects.get(pk=workflow.pk).name
    assert name.startswith("token=[scrubbed:")
    assert len(name) == 255


# --- nodes --------------------------------------------------------------------------------------


def test_node_totals_of_any_range_are_exact(workflow: Workflow) -> None:
    for minutes in range(0, 600, 25):
        status = Status.FAILED if minutes % 50 else Status.SUCCESS
        record(
            message(
                workflow, START + dt.timedelta(minutes=minutes), status,
                nodes=[node("fetch", duration_ms=10), node("send", status, 20 + minutes),
                       node("send", run_index=1, duration_ms=None)],
            )
        )  # fmt: skip
        if minutes % 75 == 0:
            fold_deltas()
    with tenant_scope(workflow.tenant):
        for first, last in [(0, 600), (13, 14), (20, 170), (59, 421), (120, 240)]:
            range_ = TimeRange(
                START + dt.timedelta(minutes=first), START + dt.timedelta(minutes=last)
            )
            ids = Execution.objects.started_between(range_.start, range_.end).values("id")
            found = node_totals(workflow, range_)
            assert found.exact
            for name in ("fetch", "send"):
                raw = NodeExecution.objects.filter(execution_id__in=ids, node_id=name)
                durations = [n.duration_ms for n in raw if n.duration_ms is not None]
                counted = next((n for n in found.nodes if n.node_id == name), None)
                assert (counted.total if counted else 0) == raw.count()
                if counted:
                    assert counted.failed == raw.filter(status=Status.FAILED).count()
                    assert counted.duration_sum == sum(durations)
                    assert counted.histogram.total == len(durations)


def test_nodes_of_a_very_busy_hour_snap_to_it(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.metrics.nodes.MOST_RAW_EXECUTIONS", 2)
    record(
        *(
            message(workflow, START + dt.timedelta(minutes=n), nodes=[node("fetch")])
            for n in range(10)
        )
    )
    range_ = TimeRange(START + dt.timedelta(minutes=5), START + dt.timedelta(hours=3))
    with tenant_scope(workflow.tenant):
        found = node_totals(workflow, range_)
    assert (found.start, found.end) == (START.replace(minute=0), range_.end)
    assert not found.exact
    assert [n.total for n in found.nodes] == [10]


# --- workflows with very many nodes -------------------------------------------------------------


@pytest.fixture
def two_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two nodes of a workflow have numbers of their own."""
    monkeypatch.setattr("monitoring.metrics.node_lines.NODES_WITH_NUMBERS", 2)


def lines_of(workflow: Workflow) -> dict[str, int]:
    """Runs by line, summed over the days."""
    with tenant_scope(workflow.tenant):
        rows = NodeRollup.objects.filter(level=Level.DAY).values_list("node_id", "counts")
        sums: dict[str, int] = {}
        for node_id, counts in rows:
            sums[node_id] = sums.get(node_id, 0) + sum(counts)
    return sums


def shown(workflow: Workflow, first: int = 0, last: int = 600) -> dict[str, tuple[int, int, int]]:
    """Runs, time and known durations by line, as questions answer."""
    range_ = TimeRange(START + dt.timedelta(minutes=first), START + dt.timedelta(minutes=last))
    with tenant_scope(workflow.tenant):
        found = node_totals(workflow, range_).nodes
    return {n.node_id: (n.total, n.duration_sum, n.histogram.total) for n in found}


def run_nodes(workflow: Workflow, minutes: int, *names: str) -> None:
    at = START + dt.timedelta(minutes=minutes)
    record(message(workflow, at, nodes=[node(name, duration_ms=10) for name in names]))


@pytest.mark.usefixtures("two_lines")
def test_nodes_beyond_the_limit_share_a_line(workflow: Workflow) -> None:
    run_nodes(workflow, 0, "a")
    fold_all()
    run_nodes(workflow, 1, "a", "b", "c")  # crosses the limit
    run_nodes(workflow, 90, "c", "d", "b")
    assert shown(workflow).keys() == {"a", "b", "c", "d"}, "nothing of them is folded yet"
    assert verify(workflow.tenant).differences == 0
    fold_all()
    assert lines_of(workflow) == {"a": 2, "b": 2, OTHER_NODES: 3}
    assert shown(workflow) == {"a": (2, 20, 2), "b": (2, 20, 2), OTHER_NODES: (3, 30, 3)}
    assert verify(workflow.tenant).differences == 0


@pytest.mark.usefixtures("two_lines")
def test_cut_hours_and_unfolded_deltas_are_told_by_the_same_lines(workflow: Workflow) -> None:
    run_nodes(workflow, 0, "a", "b", "c")
    fold_all()
    run_nodes(workflow, 90, "b", "c", "d")
    whole = {"a": (1, 10, 1), "b": (2, 20, 2), OTHER_NODES: (3, 30, 3)}
    assert shown(workflow) == whole
    assert shown(workflow, 0, 95) == whole, "the end cuts an hour, which is read raw"
    assert verify(workflow.tenant).differences == 0
    fold_all()
    assert shown(workflow, 0, 95) == whole
    assert shown(workflow, 0, 1) == {"a": (1, 10, 1), "b": (1, 10, 1), OTHER_NODES: (1, 10, 1)}


@pytest.mark.usefixtures("two_lines")
def test_deleting_subtracts_where_it_was_counted(workflow: Workflow) -> None:
    for minutes, names in enumerate(["ab", "bc", "cd", "ae"]):
        run_nodes(workflow, minutes, *names)
        if minutes == 1:
            fold_all()
    with tenant_scope(workflow.tenant):
        ids = list(Execution.objects.order_by("id").values_list("id", flat=True))
    delete_executions(workflow.tenant_id, ids[1:3])
    assert verify(workflow.tenant).differences == 0
    fold_all()
    assert lines_of(workflow) == {"a": 2, "b": 1, OTHER_NODES: 1}
    assert verify(workflow.tenant).differences == 0


@pytest.mark.usefixtures("two_lines")
def test_a_workflow_that_was_cleared_starts_anew(workflow: Workflow) -> None:
    run_nodes(workflow, 0, "a", "b", "c")
    fold_all()
    while clear_workflow_step(workflow):
        fold_all()
    assert lines_of(workflow) == {}
    run_nodes(workflow, 0, "c", "d")
    fold_all()
    assert lines_of(workflow) == {"c": 1, "d": 1}
    assert verify(workflow.tenant).differences == 0


@pytest.mark.usefixtures("two_lines")
def test_each_workflow_has_lines_of_its_own(workflow: Workflow) -> None:
    other = make_workflow(workflow.environment)
    run_nodes(workflow, 0, "a", "b", "c")
    run_nodes(other, 0, "c", "d")
    fold_all()
    assert lines_of(workflow) == {"a": 1, "b": 1, "c": 1, "d": 1, OTHER_NODES: 1}
    assert shown(other) == {"c": (1, 10, 1), "d": (1, 10, 1)}


# --- verification -------------------------------------------------------------------------------


def verify_command(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_rollups", *arguments, stdout=out)
    except SystemExit as stopped:
        return int(stopped.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_verification_finds_nothing_wrong_at_any_moment(workflow: Workflow) -> None:
    some_history(workflow)
    code, text = verify_command("acme")
    assert code == 0, text
    fold_deltas(limit=1)
    code, text = verify_command()
    assert code == 0, text
    fold_all()
    record(message(workflow, START + dt.timedelta(seconds=5)))
    code, text = verify_command()
    assert code == 0, text
    assert "no difference" in text


messages = st.tuples(
    st.integers(0, 4),
    st.integers(0, 2 * 24 * 60),
    st.sampled_from(Status),
    st.one_of(st.none(), st.integers(0, 5_000)),
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(Status)), max_size=2),
)


@pytest.mark.usefixtures("two_lines")
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(messages, min_size=1, max_size=10))
def test_any_sequence_of_messages_leaves_nothing_to_repair(
    story: list[tuple[int, int, Status, int | None, list[tuple[str, Status]]]],
) -> None:
    workflow = make_workflow(make_environment(make_tenant()))
    for place, (number, minutes, status, duration, nodes) in enumerate(story):
        start = START + dt.timedelta(minutes=minutes)
        record(
            message(
                workflow, start, status, duration,
                external_id=f"run-{number}", updated_at=start + dt.timedelta(days=3, seconds=place),
                nodes=[node(name, node_status) for name, node_status in nodes],
            )
        )  # fmt: skip
        if place % 3 == 1:
            fold_deltas(limit=1)
    assert verify(workflow.tenant).differences == 0
    fold_all()
    assert verify(workflow.tenant).differences == 0
    assert len(lines_of(workflow)) <= 2 + 1


def test_what_a_person_deletes_is_subtracted(workflow: Workflow) -> None:
    some_history(workflow)
    fold_deltas(limit=1)
    with tenant_scope(workflow.tenant):
        ids = list(Execution.objects.order_by("id").values_list("id", flat=True))
    for gone in (ids[:1], ids[1:]):
        delete_executions(workflow.tenant_id, gone)
        assert verify(workflow.tenant).differences == 0
    fold_all()
    assert verify(workflow.tenant).differences == 0
    with tenant_scope(workflow.tenant):
        assert not Rollup.objects.exists()
        assert not NodeRollup.objects.exists()
        assert workflow_statistics([workflow])[workflow.pk].execution_count == 0


def plant_wrong_count(workflow: Workflow) -> None:
    Rollup.objects.filter(subject_kind=Subject.WORKFLOW, level=Level.HOUR).update(
        counts=[0, 0, 0, 9, 0, 0, 0, 0]
    )


def plant_lost_execution(workflow: Workflow) -> None:
    first = Execution.objects.order_by("id")[:1].get()
    Execution.objects.filter(pk=first.pk).delete()


def plant_lost_rollup(workflow: Workflow) -> None:
    bucket = START.replace(minute=0)
    Rollup.objects.filter(subject_kind=Subject.TENANT, level=0, bucket=bucket).delete()


def plant_stray_rollup(workflow: Workflow) -> None:
    stray = Rollup.objects.filter(level=Level.FIVE_MINUTES)[:1].get()
    stray.pk = (stray.tenant_id, Subject.ENVIRONMENT, 4_711, 0, START - dt.timedelta(days=40))
    stray.save(force_insert=True)


def plant_wrong_histogram(workflow: Workflow) -> None:
    Rollup.objects.filter(subject_kind=Subject.ENVIRONMENT).update(histogram=b"")


def plant_wrong_node(workflow: Workflow) -> None:
    NodeRollup.objects.filter(node_id="send").update(duration_sum=F("duration_sum") + 1)


def plant_wrong_statistics(workflow: Workflow) -> None:
    Workflow.objects.filter(pk=workflow.pk).update(failure_count=77)


PLANTS = [
    plant_wrong_count,
    plant_lost_execution,
    plant_lost_rollup,
    plant_stray_rollup,
    plant_wrong_histogram,
    plant_wrong_node,
    plant_wrong_statistics,
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_verification_finds_and_repairs(
    workflow: Workflow, plant: Callable[[Workflow], None]
) -> None:
    some_history(workflow)
    fold_all()
    with tenant_scope(workflow.tenant):
        plant(workflow)
    # What is not folded yet must survive the repair.
    record(message(workflow, START + dt.timedelta(seconds=5), nodes=[node("fetch")]))
    code, text = verify_command("acme")
    assert code == 1, text
    assert "should be" in text
    code, text = verify_command("--repair")
    assert (code, "repaired" in text) == (0, True), text
    assert verify_command()[0] == 0
    fold_all()
    code, text = verify_command()
    assert code == 0, text


def test_sealed_rollups_are_skipped_and_named(workflow: Workflow) -> None:
    some_history(workflow)
    fold_all()
    with tenant_scope(workflow.tenant):
        day = START.replace(hour=0, minute=0)
        Seal.objects.create(tenant=workflow.tenant, until=day + dt.timedelta(days=1))
        Execution.objects.started_between(day, day + dt.timedelta(days=1)).delete()
    code, text = verify_command()
    assert code == 0, text
    assert "1 sealed days skipped" in text


def test_verification_is_right_beside_ingest_and_folding(workflow: Workflow) -> None:
    stop = threading.Event()

    def work(step: Callable[[int], object]) -> None:
        number = 0
        while not stop.is_set():
            step(number)
            number += 1
        connection.close()

    def ingest(number: int) -> None:
        start = START + dt.timedelta(minutes=number % 90)
        status = Status.RUNNING if number % 3 else Status.FAILED
        record(
            message(
                workflow, start, status, number,
                external_id=f"run-{number % 40}", updated_at=start + dt.timedelta(seconds=number),
                nodes=[node("fetch", duration_ms=number)],
            )
        )  # fmt: skip

    threads = [
        threading.Thread(target=work, args=[ingest]),
        threading.Thread(target=work, args=[lambda number: fold_deltas(limit=3)]),
    ]
    for thread in threads:
        thread.start()
    try:
        reports = [verify(workflow.tenant, repair=turn % 2 == 1) for turn in range(6)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [report.differences for report in reports] == [0] * 6
    assert verify(workflow.tenant).differences == 0


def test_an_unknown_tenant_is_named() -> None:
    with pytest.raises(CommandError, match="nobody"):
        call_command("verify_rollups", "nobody")


def test_repairing_waits_for_the_folder(workflow: Workflow) -> None:
    some_history(workflow)
    report = verify(workflow.tenant, repair=True)
    assert report.differences == 0
    assert report.days == 2
    # The lock is given back.
    assert fold_deltas() == 2
