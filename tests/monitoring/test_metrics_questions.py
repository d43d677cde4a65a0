"""Key figures, trends, rankings, statistics, and how ranges are asked for."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from pytest_django import DjangoAssertNumQueries

from monitoring.metrics import ranking
from monitoring.metrics.heat import failure_heat_map
from monitoring.metrics.kpis import kpis
from monitoring.metrics.ranges import sparklines_by_workflow, totals_by_workflow
from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.statistics import Statistics, workflow_statistics
from monitoring.metrics.subject import of_environment, of_tenant, of_workflow
from monitoring.metrics.timerange import Step, TimeRange, TimeRangeError
from monitoring.metrics.totals import Totals
from monitoring.metrics.trends import (
    Trend,
    Worst,
    overview_statistics,
    top_workflows,
    trend_of,
    workflow_metrics,
    workflows_needing_a_look,
)
from monitoring.models import Workflow
from monitoring.words import ErrorClass, Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

NOW = dt.datetime(2026, 3, 18, 11, 23, 7, tzinfo=dt.UTC)
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant))


def some(workflow: Workflow, ago: dt.timedelta, status: Status, times: int = 1) -> None:
    record(*(message(workflow, NOW - ago, status, 1_000) for _ in range(times)))


# --- key figures --------------------------------------------------------------------------------


@pytest.mark.django_db
def test_kpis_are_those_of_requirement_004(workflow: Workflow) -> None:
    some(workflow, HOUR, Status.SUCCESS, 6)
    some(workflow, 2 * HOUR, Status.FAILED, 3)
    some(workflow, 3 * HOUR, Status.PARTIAL)
    some(workflow, HOUR, Status.RUNNING, 2)
    some(workflow, HOUR, Status.WAITING)
    some(workflow, HOUR, Status.CANCELED)
    some(workflow, 30 * HOUR, Status.SUCCESS, 6)
    some(workflow, 30 * HOUR, Status.FAILED, 4)
    with tenant_scope(workflow.tenant):
        found = kpis(of_workflow(workflow), TimeRange.of_preset("24h", now=NOW))
    assert found.total_executions == 14
    assert (found.success_count, found.failure_count, found.partial_count) == (6, 3, 1)
    assert (found.running_count, found.waiting_count) == (2, 1)
    assert (found.success_rate, found.failure_rate) == (0.6, 0.3)
    assert found.avg_duration_ms == 1_000
    assert found.p50_duration_ms == pytest.approx(1_000, rel=0.01)
    assert found.p95_duration_ms == pytest.approx(1_000, rel=0.01)
    assert len(found.points) == 24
    assert sum(point.totals.total for point in found.points) == found.total_executions
    assert found.change.total_executions == pytest.approx(40)
    assert found.change.failure_count == pytest.approx(-25)
    assert found.change.success_rate == pytest.approx(0)
    assert found.change.failure_rate == pytest.approx(-10)


@pytest.mark.django_db
def test_nothing_before_is_nothing_to_compare_with(workflow: Workflow) -> None:
    some(workflow, HOUR, Status.SUCCESS)
    with tenant_scope(workflow.tenant):
        change = kpis(of_workflow(workflow), TimeRange.of_preset("24h", now=NOW)).change
    assert (change.total_executions, change.success_rate, change.p95_duration_ms) == (None,) * 3


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow(
    tenant: Tenant, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    environment = make_environment(tenant)
    workflows = [make_workflow(environment) for _ in range(30)]
    for workflow in workflows:
        some(workflow, HOUR, Status.FAILED)
    range_ = TimeRange.of_preset("30d", now=NOW, zone=BERLIN)
    ids = [workflow.pk for workflow in workflows]
    with tenant_scope(tenant):
        with django_assert_num_queries(2):
            kpis(of_tenant(tenant), range_)
        with django_assert_num_queries(3):
            totals_by_workflow(ids, range_)
            sparklines_by_workflow(ids, range_)
            workflow_statistics(workflows)
        with django_assert_num_queries(4):
            assert len(workflows_needing_a_look(of_tenant(tenant), range_, limit=20)) == 20


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_statistics_are_all_time_and_include_what_is_not_folded(workflow: Workflow) -> None:
    some(workflow, 900 * HOUR, Status.SUCCESS, 2)
    fold_deltas()
    some(workflow, HOUR, Status.FAILED)
    some(workflow, 2 * HOUR, Status.RUNNING)
    other = make_workflow(workflow.environment)
    with tenant_scope(workflow.tenant):
        found = workflow_statistics([workflow, other])
    assert found[workflow.pk] == Statistics(4, 2, 1, 0, 1_000, NOW - HOUR)
    assert found[workflow.pk].failure_rate == pytest.approx(1 / 3)
    assert found[other.pk] == Statistics()


# --- trends -------------------------------------------------------------------------------------


def half(failed: int, rated: int) -> Totals:
    counts = [0] * len(Status)
    counts[Status.FAILED], counts[Status.SUCCESS] = failed, rated - failed
    return Totals(tuple(counts))


@pytest.mark.parametrize(
    ("earlier", "later", "trend"),
    [
        (half(2, 100), half(2, 100), Trend.STABLE),
        (half(1, 100), half(3, 100), Trend.STABLE),  # 4 failures
        (half(1, 100), half(4, 100), Trend.INCREASING),
        (half(10, 100), half(11, 100), Trend.STABLE),  # 10 %
        (half(50, 500), half(12, 100), Trend.INCREASING),  # 20 %
        (half(10, 100), half(5, 100), Trend.DECREASING),
        (half(0, 100), half(5, 100), Trend.INCREASING),
        (half(5, 100), half(0, 100), Trend.DECREASING),
        (half(0, 0), half(9, 9), Trend.INCREASING),
        (half(9, 9), half(0, 0), Trend.DECREASING),
        (half(0, 0), half(0, 0), Trend.STABLE),
    ],
)
def test_the_trend_compares_the_halves(earlier: Totals, later: Totals, trend: Trend) -> None:
    assert trend_of(earlier, later) is trend


@pytest.mark.django_db
def test_workflow_metrics_look_at_the_last_week(workflow: Workflow) -> None:
    some(workflow, 6 * 24 * HOUR, Status.SUCCESS, 10)
    some(workflow, 2 * 24 * HOUR, Status.FAILED, 5)
    some(workflow, HOUR, Status.SUCCESS, 4)
    some(workflow, HOUR, Status.RUNNING)
    some(workflow, 9 * 24 * HOUR, Status.FAILED, 7)
    with tenant_scope(workflow.tenant):
        found = workflow_metrics(workflow, now=NOW)
        short = workflow_metrics(workflow, now=NOW, window=3 * HOUR)
    assert (found.total_executions, found.failed_executions) == (20, 5)
    assert found.failure_rate == pytest.approx(5 / 19)
    assert found.avg_execution_time == 1_000
    assert found.failure_trend is Trend.INCREASING
    assert found.last_failure is not None
    assert found.last_failure.timestamp == NOW - 2 * 24 * HOUR
    assert found.last_failure.error == "HTTP 401"
    assert found.last_failure.error_class is ErrorClass.AUTH
    assert (short.last_failure, short.failure_rate, short.total_executions) == (None, 0, 5)


# --- overview and rankings ----------------------------------------------------------------------


@pytest.mark.django_db
def test_overview_statistics_of_requirement_003(tenant: Tenant) -> None:
    first, second = (make_environment(tenant) for _ in range(2))
    busy, quiet = make_workflow(first), make_workflow(second)
    some(busy, HOUR, Status.SUCCESS, 3)
    some(busy, 30 * HOUR, Status.FAILED, 2)
    fold_deltas()
    some(quiet, HOUR, Status.FAILED)
    some(busy, 300 * HOUR, Status.SUCCESS, 9)
    range_ = TimeRange.of_preset("7d", now=NOW, zone=BERLIN)
    with tenant_scope(tenant):
        found = overview_statistics(of_tenant(tenant), range_)
        of_first = top_workflows(of_environment(first), range_)
        of_quiet = top_workflows(of_workflow(quiet), range_)
    assert found.totals.by_status == {Status.SUCCESS: 3, Status.FAILED: 3}
    assert found.totals.average_ms_of(Status.FAILED) == 1_000
    assert [point.totals.total for point in found.daily] == [0, 0, 0, 0, 0, 0, 2, 4]
    assert [(item.workflow.pk, item.totals.total) for item in found.top] == [
        (busy.pk, 5),
        (quiet.pk, 1),
    ]
    assert [item.workflow.pk for item in of_first] == [busy.pk]
    assert [item.workflow.pk for item in of_quiet] == [quiet.pk]


@pytest.mark.django_db
def test_of_many_workflows_the_candidates_are_kept_but_no_number(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "_READ_AT_ONCE", 2)
    first, second, third = (make_workflow(make_environment(tenant)) for _ in range(3))
    for workflow, failures in ((first, 3), (second, 2), (third, 1)):
        some(workflow, HOUR, Status.FAILED, failures)
    range_ = TimeRange.of_preset("7d", now=NOW, zone=BERLIN)

    def ranked(tenant: Tenant) -> list[tuple[int, int]]:
        with tenant_scope(tenant):
            found = ranking.most_failing(of_tenant(tenant), range_, limit=1)
        return [(workflow_id, totals.failed) for workflow_id, totals in found]

    assert ranked(tenant) == [(first.pk, 3)]
    some(second, HOUR, Status.FAILED, 7)
    some(third, HOUR, Status.FAILED, 17)
    assert ranked(tenant) == [(second.pk, 9)]
    assert ranked(make_tenant("other")) == []
    cache.clear()
    assert ranked(tenant) == [(third.pk, 18)]


@pytest.mark.django_db
@pytest.mark.parametrize("length", [HOUR, 13 * HOUR])
def test_a_workflow_is_ranked_although_many_have_more_beside_the_range(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch, length: dt.timedelta
) -> None:
    monkeypatch.setattr(ranking, "_READ_AT_ONCE", 2)
    environment = make_environment(tenant)
    *many, few, one = (make_workflow(environment) for _ in range(9))
    before = NOW - length - dt.timedelta(minutes=1)
    record(*(message(each, before, Status.FAILED) for each in many for _ in range(5)))
    some(few, dt.timedelta(minutes=10), Status.FAILED, 3)
    some(one, dt.timedelta(minutes=10), Status.FAILED)
    with tenant_scope(tenant):
        found = ranking.most_failing(of_tenant(tenant), TimeRange(NOW - length, NOW), limit=5)
    assert [(pk, totals.failed) for pk, totals in found] == [(few.pk, 3), (one.pk, 1)]


@pytest.mark.django_db
def test_workflows_that_need_a_look(tenant: Tenant) -> None:
    environment = make_environment(tenant)
    many, bad, worse, fine = (make_workflow(environment) for _ in range(4))
    some(many, HOUR, Status.FAILED, 6)
    some(many, HOUR, Status.SUCCESS, 14)
    some(many, 30 * HOUR, Status.FAILED)
    some(bad, HOUR, Status.FAILED, 2)
    some(bad, 30 * HOUR, Status.FAILED, 2)
    some(worse, HOUR, Status.FAILED, 3)
    some(worse, HOUR, Status.SUCCESS, 2)
    some(worse, 30 * HOUR, Status.SUCCESS, 5)
    some(fine, HOUR, Status.SUCCESS, 5)
    # Inside the covering hour, outside the range.
    some(fine, 24 * HOUR + dt.timedelta(minutes=1), Status.FAILED, 50)
    fold_deltas()
    range_ = TimeRange.of_preset("24h", now=NOW)
    with tenant_scope(tenant):
        ranked = {
            by: [
                item.workflow.pk
                for item in workflows_needing_a_look(of_tenant(tenant), range_, by=by)
            ]
            for by in Worst
        }
        [first, *_] = workflows_needing_a_look(of_tenant(tenant), range_, by=Worst.CHANGE)
    assert ranked[Worst.FAILURES] == [many.pk, worse.pk, bad.pk]
    assert ranked[Worst.RATE] == [bad.pk, worse.pk, many.pk]
    assert ranked[Worst.CHANGE] == [worse.pk]
    assert first.change == pytest.approx(60)


@pytest.mark.django_db
def test_the_heat_map_follows_the_clock_of_the_zone(workflow: Workflow) -> None:
    monday_nine = dt.datetime(2026, 3, 16, 9, 30, tzinfo=BERLIN)
    record(
        message(workflow, monday_nine, Status.FAILED),
        message(workflow, monday_nine, Status.SUCCESS),
        message(workflow, monday_nine + dt.timedelta(days=1, hours=5), Status.SUCCESS),
    )
    range_ = TimeRange.of_preset("7d", now=NOW, zone=BERLIN)
    with tenant_scope(workflow.tenant):
        heat = failure_heat_map(of_workflow(workflow), range_)
    assert heat.failed[0][9] == 1
    assert heat.failure_rate(0, 9) == 0.5
    assert heat.failure_rate(1, 14) == 0
    assert heat.failure_rate(6, 0) is None
    assert sum(map(sum, heat.rated)) == 3


@pytest.mark.django_db
@pytest.mark.parametrize("is_folded", [False, True])
@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"]
)
def test_the_heat_map_counts_every_execution_at_its_local_hour(
    workflow: Workflow, zone: str, is_folded: bool
) -> None:
    range_ = TimeRange.of_preset("7d", now=NOW, zone=ZoneInfo(zone))
    moments = [range_.start + dt.timedelta(minutes=7 + 97 * number) for number in range(100)]
    record(*(message(workflow, moment, Status.FAILED) for moment in moments))
    while is_folded and fold_deltas():
        continue
    expected = [[0] * 24 for _ in range(7)]
    for moment in moments:
        local = moment.astimezone(range_.zone)
        expected[local.weekday()][local.hour] += 1
    for subject in (of_workflow(workflow), of_tenant(workflow.tenant)):
        with tenant_scope(workflow.tenant):
            assert failure_heat_map(subject, range_).failed == expected


# --- asking for a range -------------------------------------------------------------------------


def asked(**params: str) -> TimeRange:
    return TimeRange.from_query(params, now=NOW, naive_zone=BERLIN)


def test_ranges_of_a_query() -> None:
    assert asked() == TimeRange.of_preset("24h", now=NOW)
    assert asked(time_range="7d", start="nonsense").length == dt.timedelta(days=7)
    assert asked(start="2026-03-01T00:00:00Z").end == NOW
    assert asked(start="2026-03-01", end="2026-03-02") == TimeRange(
        dt.datetime(2026, 3, 1, tzinfo=BERLIN), dt.datetime(2026, 3, 3, tzinfo=BERLIN)
    )
    assert asked(time_range="1h", tz="Asia/Tokyo").zone == ZoneInfo("Asia/Tokyo")
    unescaped_plus = asked(start="2026-03-01T12:00:00 01:00")
    assert unescaped_plus.start == dt.datetime(2026, 3, 1, 11, tzinfo=dt.UTC)


@pytest.mark.parametrize("range_", [asked(time_range="30d"), asked(start="2026-03-01T10:00Z")])
def test_the_query_of_a_range_gives_it_again(range_: TimeRange) -> None:
    assert asked(**range_.query) == range_


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"time_range": "2h"}, "time_range"),
        ({"time_range": "custom"}, "start"),
        ({"end": "2026-03-01"}, "start"),
        ({"start": "yesterday"}, "start"),
        ({"start": "2026-03-02", "end": "2026-03-01"}, "start"),
        ({"start": "2026-03-01", "end": "soon"}, "end"),
        ({"start": "1000-01-01"}, "start"),
        ({"start": "2000-01-01"}, "start"),
        ({"start": "2026-03-01", "end": "9999-12-31"}, "end"),
        ({"tz": "Mars/Olympus"}, "tz"),
        ({"tz": "../etc/passwd"}, "tz"),
        ({"tz": "Europe"}, "tz"),
        ({"tz": "\0"}, "tz"),
    ],
)
def test_a_bad_query_says_which_field(params: dict[str, str], field: str) -> None:
    with pytest.raises(TimeRangeError) as caught:
        asked(**params)
    assert caught.value.field == field
    assert str(caught.value)


@pytest.mark.parametrize("step", list(Step))
@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Santiago"]
)
def test_edges_rise_and_stay_inside(step: Step, name: str) -> None:
    for start in (dt.datetime(2026, 3, 27, 9, 1, 2, tzinfo=dt.UTC),
                  dt.datetime(2026, 9, 4, 9, 1, tzinfo=dt.UTC)):  # fmt: skip
        range_ = TimeRange(start, start + dt.timedelta(days=12), ZoneInfo(name))
        edges = range_.edges(step)
        assert edges == sorted(set(edges))
        assert (edges[0], edges[-1]) == (range_.start, range_.end)
        for edge in edges[1:-1]:
            assert edge.minute % 5 == edge.second == edge.microsecond == 0
        if step in (Step.DAY, Step.WEEK):
            # A clock that skips midnight (Santiago, in September) begins its day at one.
            assert {edge.astimezone(range_.zone).hour for edge in edges[1:-1]} <= {0, 1}


def test_the_chart_of_a_preset_has_a_readable_number_of_points() -> None:
    for preset in ("1h", "6h", "24h", "7d", "30d"):
        range_ = TimeRange.of_preset(preset, now=NOW, zone=BERLIN)
        assert 12 <= len(range_.edges(range_.chart_step)) <= 80
