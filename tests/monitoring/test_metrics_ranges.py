"""Numbers of any range equal a recount of the raw rows, folded or not."""

from __future__ import annotations

import datetime as dt
import math
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.counting.buckets import BUCKET
from monitoring.counting.histogram import BOUNDS, LONGEST_MS, Histogram, middle_of, slot_of
from monitoring.metrics.ranges import (
    series,
    sparkline,
    sparklines_by_workflow,
    totals,
    totals_by_workflow,
    totals_of_each,
)
from monitoring.metrics.reading import SLOT_SQL
from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.spans import divide
from monitoring.metrics.subject import of_environment, of_tenant, of_workflow
from monitoring.metrics.timerange import PRESETS, Step, TimeRange
from monitoring.models import Execution, Level, RollupDelta, Seal, Workflow
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import ScopeError, tenant_scope
from tests.monitoring.counted import message, record, recount
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = [pytest.mark.django_db, pytest.mark.store]

DAY_ZERO = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)
SPREAD = dt.timedelta(days=3)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant))


moments = st.integers(0, SPREAD // dt.timedelta(milliseconds=1)).map(
    lambda milliseconds: DAY_ZERO + dt.timedelta(milliseconds=milliseconds)
)
# Edges that fall exactly on an execution or a bucket are the interesting ones.
edges = st.one_of(
    moments,
    st.integers(0, SPREAD // BUCKET).map(lambda number: DAY_ZERO + number * BUCKET),
    st.integers(0, 72).map(lambda hours: DAY_ZERO + dt.timedelta(hours=hours)),
)
durations = st.one_of(st.none(), st.integers(0, 10), st.integers(0, 100_000_000))


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, str, dt.datetime, Status, int | None, bool]]:
    """Messages: workflow, external id (some come twice), start, status, duration, fold after?"""
    starts = draw(st.lists(moments, min_size=1, max_size=8))
    return [
        (
            draw(st.integers(0, 1)),
            f"run-{number}",
            starts[number],
            draw(st.sampled_from(Status)),
            draw(durations),
            draw(st.booleans()),
        )
        for number in draw(
            st.lists(st.integers(0, len(starts) - 1), min_size=len(starts), max_size=16)
        )
    ]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=stories(), first=edges, second=edges)
def test_totals_of_any_range_equal_a_recount(
    story: list[tuple[int, str, dt.datetime, Status, int | None, bool]],
    first: dt.datetime,
    second: dt.datetime,
) -> None:
    tenant = make_tenant()
    environments = [make_environment(tenant), make_environment(tenant)]
    workflows = [make_workflow(environment) for environment in environments]
    for place, (number, external_id, start, status, duration, fold) in enumerate(story):
        later = start + dt.timedelta(seconds=place)
        record(
            message(
                workflows[number], start, status, duration,
                external_id=external_id, updated_at=later,
            )
        )  # fmt: skip
        if fold:
            fold_deltas(limit=2)
    start, end = sorted((first, second))
    range_ = TimeRange(start, end + dt.timedelta(milliseconds=1))
    with tenant_scope(tenant):
        raw = Execution.objects.started_between(range_.start, range_.end)
        for subject, rows in (
            (of_tenant(tenant), raw),
            (of_environment(environments[0]), raw.filter(environment=environments[0])),
            (of_workflow(workflows[1]), raw.filter(workflow=workflows[1])),
        ):
            found, expected = totals(subject, range_), recount(rows)
            assert found == expected
            assert found.histogram == expected.histogram
            assert found.exact
        by_workflow = totals_by_workflow([workflow.pk for workflow in workflows], range_)
        for workflow in workflows:
            found, expected = by_workflow[workflow.pk], recount(raw.filter(workflow=workflow))
            assert found.counts == expected.counts
            assert found.average_ms == expected.average_ms
            assert found.histogram == expected.histogram
        own_spans = [
            (workflow.pk, (at, range_.end))
            for workflow in workflows
            for at in (range_.start, range_.start + (range_.end - range_.start) / 3)
        ]
        for (pk, span), found in zip(own_spans, totals_of_each(own_spans), strict=True):
            rows = Execution.objects.started_between(*span).filter(workflow=pk)
            assert found == recount(rows)
        for points in (sparkline(of_tenant(tenant), range_), series(of_tenant(tenant), range_)):
            assert sum(point.totals.total for point in points) == raw.count()
            for point in points:
                inside = Execution.objects.started_between(point.start, point.end)
                assert point.totals.counts == recount(inside).counts


def test_the_work_grows_with_the_buckets_of_the_answer() -> None:
    start = DAY_ZERO + dt.timedelta(minutes=2, seconds=3)
    end = start + dt.timedelta(days=90)
    segments, raw = divide(0, (start, end), now=end)
    rows = sum((segment.end - segment.start) // segment.level.length for segment in segments)
    assert rows <= 90 + 46 + 22 + 2
    assert {segment.level for segment in segments} == set(Level)
    # 2:03 into one bucket, and of the one that is being filled only what lies in the future.
    assert [(piece.start, piece.end, piece.sign) for piece in raw] == [
        (start - dt.timedelta(seconds=123), start, -1),
        (end, end + dt.timedelta(seconds=177), -1),
    ]


def test_numbers_are_exact_before_and_after_folding(workflow: Workflow) -> None:
    start = DAY_ZERO + dt.timedelta(hours=5, minutes=7)
    record(*(message(workflow, start + dt.timedelta(minutes=7 * n)) for n in range(20)))
    range_ = TimeRange(start, start + dt.timedelta(hours=2))
    with tenant_scope(workflow.tenant):
        before = totals(of_workflow(workflow), range_)
        assert RollupDelta.objects.exists()
        fold_deltas()
        assert not RollupDelta.objects.exists()
        assert totals(of_workflow(workflow), range_) == before
        assert before.total == 18


@pytest.mark.parametrize("spread", [(0, 300), (1_000, 90_000), (5, 4_000_000)])
def test_percentiles_are_within_one_percent(workflow: Workflow, spread: tuple[int, int]) -> None:
    low, high = spread
    values = [low + (high - low) * (n * n % 997) // 997 for n in range(400)]
    start = DAY_ZERO + dt.timedelta(seconds=1)
    record(
        *(
            message(workflow, start + n * dt.timedelta(minutes=3), duration_ms=value)
            for n, value in enumerate(values)
        )
    )
    range_ = TimeRange(start, start + dt.timedelta(days=1))
    with tenant_scope(workflow.tenant):
        found = totals(of_workflow(workflow), range_)
    assert found.total == 400
    for percent in (1, 50, 90, 95, 99, 100):
        exact = sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]
        assert found.percentile(percent) == pytest.approx(exact, rel=0.01)
    assert found.average_ms == pytest.approx(sum(values) / len(values))


@given(duration=st.integers(0, LONGEST_MS))
def test_a_slots_middle_is_within_one_percent(duration: int) -> None:
    assert abs(middle_of(slot_of(duration)) - duration) <= duration * 0.01


def test_sql_and_python_give_the_same_slot() -> None:
    from django.db import connection

    values = sorted({0, 1, 2, LONGEST_MS, *(b + step for b in BOUNDS[1:] for step in (-1, 0, 1))})
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT duration_ms, {SLOT_SQL} FROM unnest(%s::bigint[]) AS e (duration_ms)", [values]
        )
        assert all(slot == slot_of(duration) for duration, slot in cursor.fetchall())


@given(
    st.dictionaries(st.integers(0, 1_300), st.integers(-5, 5)),
    st.dictionaries(st.integers(0, 1_300), st.integers(-5, 5)),
)
def test_histograms_survive_packing_and_concatenation(
    first: dict[int, int], second: dict[int, int]
) -> None:
    merged = Histogram(first)
    merged.merge(Histogram(second))
    assert Histogram.unpack_sum(Histogram(first).pack() + Histogram(second).pack()) == merged
    assert Histogram.unpack(merged.pack()) == merged


@given(
    st.lists(
        st.dictionaries(st.integers(0, len(BOUNDS)), st.integers(-(2**40), 2**40), min_size=20),
        min_size=1,
        max_size=30,
    )
)
def test_the_sum_of_many_histograms_is_exact(parts: list[dict[int, int]]) -> None:
    merged = Histogram()
    for part in parts:
        merged.merge(Histogram(part))
    packed = b"".join(Histogram(part).pack() for part in parts)
    assert Histogram.unpack_sum(packed) == merged


@pytest.mark.parametrize(
    ("preset", "points"), [("1h", 12), ("6h", 12), ("24h", 24), ("7d", 14), ("30d", 30)]
)
@pytest.mark.parametrize("minute", [0, 5, 23])
def test_sparklines_have_the_required_points(preset: str, points: int, minute: int) -> None:
    now = dt.datetime(2026, 3, 29, 11, minute, 7, 123456, tzinfo=dt.UTC)
    range_ = TimeRange.of_preset(preset, now=now, zone=ZoneInfo("Europe/Berlin"))
    edges = range_.sparkline_edges()
    assert len(edges) == points + 1
    assert (edges[0], edges[-1]) == (range_.start, range_.end)
    assert edges == sorted(set(edges))
    assert set(PRESETS) == {"1h", "6h", "24h", "7d", "30d"}


def test_a_day_of_a_zone_is_as_long_as_its_clock_says(workflow: Workflow) -> None:
    zone = ZoneInfo("Europe/Berlin")
    start = dt.datetime(2026, 3, 28, tzinfo=zone)
    range_ = TimeRange(start, dt.datetime(2026, 3, 31, tzinfo=zone), zone)
    last_hour = dt.datetime(2026, 3, 29, 21, 59, tzinfo=dt.UTC)
    record(message(workflow, last_hour), message(workflow, last_hour + dt.timedelta(minutes=1)))
    with tenant_scope(workflow.tenant):
        points = series(of_workflow(workflow), range_, Step.DAY)
    assert [(point.end - point.start) // dt.timedelta(hours=1) for point in points] == [24, 23, 24]
    assert [point.totals.total for point in points] == [0, 1, 1]


@pytest.mark.parametrize("name", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_zones_at_odd_offsets_are_summed_from_five_minutes(workflow: Workflow, name: str) -> None:
    zone = ZoneInfo(name)
    midnight = dt.datetime(2026, 3, 10, tzinfo=zone)
    record(
        message(workflow, midnight - dt.timedelta(milliseconds=1)),
        message(workflow, midnight),
        message(workflow, midnight + dt.timedelta(hours=23, minutes=59)),
    )
    fold_deltas()
    range_ = TimeRange(midnight - dt.timedelta(days=1), midnight + dt.timedelta(days=1), zone)
    with tenant_scope(workflow.tenant):
        points = series(of_workflow(workflow), range_, Step.DAY)
    assert [point.totals.total for point in points] == [1, 2]


def test_where_nothing_ran_counts_are_zero_and_rates_a_gap(workflow: Workflow) -> None:
    range_ = TimeRange.of_preset("24h", now=DAY_ZERO)
    with tenant_scope(workflow.tenant):
        found = totals(of_workflow(workflow), range_)
        points = sparklines_by_workflow([workflow.pk], range_)[workflow.pk]
    assert (found.total, found.failure_rate, found.average_ms) == (0, None, None)
    assert found.percentile(95) is None
    assert [point.totals.total for point in points] == [0] * 24
    assert {point.totals.success_rate for point in points} == {None}


def test_a_cut_sealed_bucket_is_counted_whole_and_says_so(workflow: Workflow) -> None:
    start = DAY_ZERO + dt.timedelta(hours=1)
    record(*(message(workflow, start + dt.timedelta(minutes=n)) for n in range(10)))
    fold_deltas()
    range_ = TimeRange(start + dt.timedelta(minutes=2), start + dt.timedelta(minutes=8))
    with tenant_scope(workflow.tenant):
        assert totals(of_workflow(workflow), range_).total == 6
        Seal.objects.create(tenant=workflow.tenant, until=DAY_ZERO + dt.timedelta(days=1))
        # Retention took one of the five rows that the sealed bucket counted.
        Execution.objects.order_by("id")[:1].get().delete()
        found = totals(of_workflow(workflow), range_)
        assert found.total == 5 + 5
        assert found.snapped_start == start
        # The other edge cuts a bucket before the seal as well, whether its rows are there or not.
        assert found.snapped_end == start + dt.timedelta(minutes=10)
        assert not found.exact


def test_numbers_need_a_scope_and_see_one_tenant(workflow: Workflow) -> None:
    record(message(workflow, DAY_ZERO))
    range_ = TimeRange(DAY_ZERO, DAY_ZERO + dt.timedelta(days=1))
    with pytest.raises(ScopeError):
        totals(of_workflow(workflow), range_)
    with tenant_scope(make_tenant("other")):
        assert totals(of_workflow(workflow), range_).total == 0
    fold_deltas()
    with tenant_scope(make_tenant("third")):
        assert totals(of_workflow(workflow), range_).total == 0
        assert totals(of_tenant(workflow.tenant), range_).total == 0
