"""The history: exact by index, bounded by slices, the same on every page."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring import history
from monitoring.history import BrokenCursor, ExecutionQuery
from monitoring.models import Execution, Workflow
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_executions,
    make_tenant,
    make_workflow,
)

pytestmark = pytest.mark.django_db
TWO = frozenset({Status.FAILED, Status.PARTIAL})


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("agency")


@pytest.fixture(autouse=True)
def inside(tenant: Tenant) -> Iterator[None]:
    with tenant_scope(tenant):
        yield


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant), name="Invoice sync")


def all_pages(query: ExecutionQuery, limit: int = 7) -> list[uuid.UUID]:
    """Every match, by following the cursors to older pages."""
    ids: list[uuid.UUID] = []
    cursor: str | None = None
    while True:
        page = history.page(query, after=cursor, limit=limit)
        ids += [row.id for row in page.rows]
        cursor = page.older
        if cursor is None:
            return ids


def newest_first(*executions: Execution) -> list[uuid.UUID]:
    return sorted((execution.id for execution in executions), reverse=True)


def test_pages_follow_each_other_without_gap_or_repetition(workflow: Workflow) -> None:
    ids = make_executions(workflow, 30)
    assert all_pages(ExecutionQuery()) == sorted(ids, reverse=True)


def test_going_back_shows_the_page_one_came_from(workflow: Workflow) -> None:
    make_executions(workflow, 30)
    first = history.page(ExecutionQuery(), limit=10)
    second = history.page(ExecutionQuery(), after=first.older, limit=10)
    assert first.newer is None
    again = history.page(ExecutionQuery(), before=second.newer, limit=10)
    assert [row.id for row in again.rows] == [row.id for row in first.rows]
    assert again.newer is None
    assert again.older == first.older


def test_the_last_page_has_no_older_one(workflow: Workflow) -> None:
    make_executions(workflow, 10)
    first = history.page(ExecutionQuery(), limit=5)
    assert first.older is not None
    assert history.page(ExecutionQuery(), after=first.older, limit=5).older is None
    assert history.page(ExecutionQuery(), limit=10).older is None


def test_a_page_stays_the_same_while_rows_arrive(workflow: Workflow) -> None:
    make_executions(workflow, 12, newest=timezone.now() - dt.timedelta(hours=1))
    cursor = history.page(ExecutionQuery(), limit=5).older
    before = [row.id for row in history.page(ExecutionQuery(), after=cursor, limit=5).rows]
    make_executions(workflow, 6)
    after = [row.id for row in history.page(ExecutionQuery(), after=cursor, limit=5).rows]
    assert before == after


@pytest.mark.parametrize("filters", [{}, {"trigger": "schedule"}, {"statuses": TWO}])
def test_an_offset_skips_matches(workflow: Workflow, filters: dict[str, Any]) -> None:
    ids = make_executions(workflow, 15, status=Status.FAILED)
    query = ExecutionQuery(**filters)

    def shown(offset: int) -> list[uuid.UUID]:
        return [row.id for row in history.page(query, offset=offset, limit=4).rows]

    assert shown(0) == ids[:4]
    assert shown(5) == ids[5:9]
    assert shown(13) == ids[13:]
    assert shown(15) == shown(9_000) == []
    second = history.page(query, offset=5, limit=4)
    assert [row.id for row in history.page(query, after=second.older, limit=4).rows] == ids[9:13]


@pytest.mark.parametrize(
    "cursor", ["", "x", "%%%", "AAAA", "a" * 500, "ÄÖÜ", "AAAAAAAAAAAAAAAAAAAAAAAA", "\x00"]
)
def test_a_broken_cursor_is_said_to_be_broken(cursor: str) -> None:
    with pytest.raises(BrokenCursor):
        history.page(ExecutionQuery(), after=cursor)


def test_filters_of_indexes_are_exact(tenant: Tenant, workflow: Workflow) -> None:
    other = make_workflow(make_environment(tenant))
    failed = make_execution(workflow, Status.FAILED, error_message="no")
    partial = make_execution(workflow, Status.PARTIAL)
    running = make_execution(other, Status.RUNNING)
    other_failed = make_execution(other, Status.FAILED, error_message="no")
    success = make_execution(workflow)

    def found(**filters: object) -> list[uuid.UUID]:
        page = history.page(ExecutionQuery(**filters))  # type: ignore[arg-type]
        assert page.searched_to is None
        return [row.id for row in page.rows]

    assert found(workflow_ids=(workflow.pk,)) == newest_first(failed, partial, success)
    assert found(environment_id=other.environment_id) == newest_first(running, other_failed)
    assert found(statuses=frozenset({Status.FAILED})) == newest_first(failed, other_failed)
    problems = frozenset({Status.FAILED, Status.PARTIAL})
    assert found(statuses=problems) == newest_first(failed, partial, other_failed)
    assert found(statuses=problems, workflow_ids=(workflow.pk,)) == newest_first(failed, partial)
    assert found(statuses=problems, environment_id=other.environment_id) == [other_failed.id]
    assert found(workflow_ids=(workflow.pk,), environment_id=other.environment_id) == []
    assert found(statuses=frozenset({Status.SUCCESS})) == [success.id]
    with_success = frozenset({Status.SUCCESS, Status.RUNNING})
    assert found(statuses=with_success) == newest_first(success, running)
    assert found(fingerprint=bytes(failed.fingerprint or b"")) == newest_first(failed, other_failed)


def test_other_filters_compare_rows(workflow: Workflow) -> None:
    short = make_execution(workflow, duration_ms=10, trigger_type="schedule", version="7")
    long = make_execution(workflow, duration_ms=90_000, trigger_type="webhook", version="8")
    unknown = make_execution(workflow, Status.RUNNING, trigger_type=None)
    assert all_pages(ExecutionQuery(min_duration_ms=1_000)) == [long.id]
    assert all_pages(ExecutionQuery(max_duration_ms=10)) == [short.id]
    assert all_pages(ExecutionQuery(trigger="schedule")) == [short.id]
    assert all_pages(ExecutionQuery(version="8")) == [long.id]
    assert unknown.id in all_pages(ExecutionQuery())


def test_a_time_range_takes_its_start_and_leaves_its_end(workflow: Workflow) -> None:
    start = timezone.now().replace(microsecond=0) - dt.timedelta(hours=2)
    rows = [
        make_execution(workflow, started_at=start + dt.timedelta(minutes=minute))
        for minute in (-1, 0, 30, 60)
    ]
    query = ExecutionQuery(start=start, end=start + dt.timedelta(minutes=60))
    assert all_pages(query) == newest_first(*rows[1:3])


def test_a_scan_stops_and_says_how_far_it_came(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history.reading, "SCAN_ROWS", 20)
    monkeypatch.setattr(history.reading, "FIRST_SLICE", 10)
    ids = make_executions(workflow, 50)
    wanted = ids[45]
    Execution.objects.filter(id=wanted).update(trigger_type="form")
    query = ExecutionQuery(trigger="form")

    first = history.page(query)
    assert (first.rows, first.newer) == ([], None)
    assert first.searched_to is not None
    assert first.older == history.cursor_of(ids[19])
    assert all_pages(query) == [wanted]
    assert sum(len(rows) for rows in history.iterate(query, size=5)) == 1


def test_a_scan_goes_on_in_both_directions(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history.reading, "SCAN_ROWS", 20)
    monkeypatch.setattr(history.reading, "FIRST_SLICE", 10)
    ids = make_executions(workflow, 50)
    Execution.objects.filter(id=ids[3]).update(trigger_type="form")
    query = ExecutionQuery(trigger="form")
    page = history.page(query, before=history.cursor_of(ids[49]))
    seen = [row.id for row in page.rows]
    for _ in range(3):
        if page.newer is None:
            break
        page = history.page(query, before=page.newer)
        seen += [row.id for row in page.rows]
    assert seen == [ids[3]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("timed out", {"timeout"}),
        ("TIMED OUT", {"timeout"}),
        ("30000", {"timeout"}),
        ("after 30000 ms", {"timeout"}),
        ('"email"', {"field"}),
        ("email", {"field"}),
        ("/api/orders", {"path"}),
        ("after <n>", {"timeout"}),
        ("100%", {"percent"}),
        ("e", {"timeout", "field", "path", "percent"}),
        ("50%_", set()),
        ("no such words", set()),
        ("\\", set()),
    ],
)
def test_error_text_is_found_whatever_is_masked(
    workflow: Workflow, text: str, expected: set[str]
) -> None:
    messages = {
        "timeout": "Connection timed out after 30000 ms",
        "field": 'Missing field "email"',
        "path": "GET /api/orders/4711 answered nothing at all, see the log",
        "percent": "Disk is 100% full, failed to write",
    }
    by_id = {
        make_execution(workflow, Status.FAILED, error_message=message).id: name
        for name, message in messages.items()
    }
    make_execution(workflow)
    assert {by_id[found] for found in all_pages(ExecutionQuery(error_text=text))} == expected


def test_error_text_goes_with_other_filters(tenant: Tenant, workflow: Workflow) -> None:
    other = make_workflow(make_environment(tenant))
    mine = make_execution(workflow, Status.FAILED, error_message="Connection reset")
    make_execution(other, Status.FAILED, error_message="Connection reset")
    make_execution(workflow, Status.PARTIAL, error_message="Connection reset")
    query = ExecutionQuery(
        error_text="reset", workflow_ids=(workflow.pk,), statuses=frozenset({Status.FAILED})
    )
    assert all_pages(query) == [mine.id]
    assert all_pages(replace(query, error_text="reset", trigger="form")) == []


def test_many_error_groups_are_scanned_instead(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.error_search.MOST_GROUPS", 2)
    found = [
        make_execution(workflow, Status.FAILED, error_message=f"Bad {word}")
        for word in ("apple", "pear", "plum", "cherry")
    ]
    assert all_pages(ExecutionQuery(error_text="Bad")) == newest_first(*found)


def test_rows_carry_names_without_more_queries(
    workflow: Workflow, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_executions(workflow, 20, error_message="x" * 1_000)
    with django_assert_num_queries(2):
        page = history.page(ExecutionQuery(), limit=20, whole_messages=False)
        said = [(row.workflow.name, row.environment.name, len(row.reason)) for row in page.rows]  # type: ignore[attr-defined]
    assert said == [(workflow.name, workflow.environment.name, 300)] * 20


def test_counts_stop_at_their_limit(workflow: Workflow) -> None:
    make_executions(workflow, 12)
    make_execution(workflow, Status.FAILED, error_message="no")
    assert history.count(ExecutionQuery(), at_most=10) == history.Count(10, is_exact=False)
    assert history.count(ExecutionQuery()) == history.Count(13, is_exact=True)
    problems = frozenset({Status.FAILED, Status.PARTIAL})
    assert history.count(ExecutionQuery(statuses=problems)) == history.Count(1, is_exact=True)
    assert history.count(ExecutionQuery(trigger="webhook")) == history.Count(1, is_exact=True)
    assert history.count(ExecutionQuery(trigger="webhook"), at_most=10) is None


def test_neighbours_stay_within_the_filter(workflow: Workflow) -> None:
    now = timezone.now()
    rows = [
        make_execution(workflow, status, started_at=now - dt.timedelta(minutes=minute))
        for minute, status in enumerate(
            [Status.FAILED, Status.SUCCESS, Status.FAILED, Status.SUCCESS, Status.FAILED]
        )
    ]
    failed = ExecutionQuery(statuses=frozenset({Status.FAILED}))
    assert history.neighbours(rows[2].id, failed) == history.Neighbours(rows[0].id, rows[4].id)
    assert history.neighbours(rows[0].id, failed) == history.Neighbours(None, rows[2].id)
    assert history.neighbours(rows[2].id, ExecutionQuery()) == history.Neighbours(
        rows[1].id, rows[3].id
    )


def test_an_execution_is_found_by_our_id_or_the_senders(tenant: Tenant, workflow: Workflow) -> None:
    other = make_workflow(make_environment(tenant))
    mine = make_execution(workflow, external_id="4711")
    theirs = make_execution(other, external_id="4711")
    assert [row.id for row in history.find_by_any_id(str(mine.id))] == [mine.id]
    assert [row.id for row in history.find_by_any_id("4711")] == newest_first(mine, theirs)
    assert [row.id for row in history.find_by_any_id("4711", workflow_ids=[workflow.pk])] == [
        mine.id
    ]
    only_there = history.find_by_any_id("4711", environment_id=other.environment_id)
    assert [row.id for row in only_there] == [theirs.id]
    assert history.find_by_any_id("unknown") == []
    assert history.find_by_any_id("nul \0 inside") == []
    assert history.find_by_any_id(str(uuid.uuid4())) == []


def test_another_tenants_executions_are_not_there(workflow: Workflow) -> None:
    stranger = make_tenant("stranger")
    foreign = make_execution(make_workflow(make_environment(stranger)), external_id="4711")
    assert history.page(ExecutionQuery()).rows == []
    assert history.get(foreign.id) is None
    assert history.find_by_any_id(str(foreign.id)) == []
    assert history.find_by_any_id("4711") == []
    assert history.page(ExecutionQuery(workflow_ids=(foreign.workflow_id,))).rows == []


def test_iterating_meets_every_match_once(workflow: Workflow) -> None:
    ids = make_executions(workflow, 25)
    met = [row.id for rows in history.iterate(ExecutionQuery(), size=10) for row in rows]
    assert met == sorted(ids, reverse=True)
