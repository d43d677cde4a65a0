"""Scans: what is looked at, what is stored, and that a scan which dies goes on where it stood."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from monitoring import definitions
from monitoring.definitions import store_definition
from monitoring.models import Event, Workflow, WorkflowVersion
from monitoring.words import Status
from scheduling import scans, schedules
from scheduling.comparison import difference
from scheduling.due import drain
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

TRIGGER = {"id": "t", "name": "Start", "type": "n8n-nodes-base.scheduleTrigger", "parameters": {}}


def request_node(**parameters: Any) -> dict[str, Any]:
    return {
        "id": "r",
        "name": "Ask",
        "type": "n8n-nodes-base.httpRequest",
        "typeVersion": 4,
        "parameters": {"url": "https://api.example.com", "options": {}} | parameters,
    }


def definition(*nodes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    named = [node["name"] for node in nodes]
    connections = {
        a: {"main": [[{"node": b, "type": "main", "index": 0}]]}
        for a, b in itertools.pairwise(named)
    }
    return {
        "name": "W", "active": True, "nodes": list(nodes), "connections": connections,
        "settings": settings,
    }  # fmt: skip


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


def defined(tenant: Tenant, document: dict[str, Any], **fields: Any) -> Workflow:
    workflow = make_workflow(make_environment(tenant), **fields)
    with tenant_scope(tenant):
        store_definition(workflow, document, source=WorkflowVersion.Source.UPLOAD, by=None)
    return workflow


def scan(tenant: Tenant, **fields: Any) -> Scan:
    """Start a scan and let the worker drain."""
    with tenant_scope(tenant):
        started = schedules.run_now(tenant, None, by=None)
        if fields:
            Scan.objects.filter(pk=started.pk).update(**fields)
        drain("scan")
        started.refresh_from_db()
        return started


def rules(tenant: Tenant, scanned: Scan) -> set[str]:
    with tenant_scope(tenant):
        return set(Finding.objects.filter(scan=scanned).values_list("rule", flat=True))


def test_a_scan_stores_findings_scores_and_health(tenant: Tenant) -> None:
    workflow = defined(tenant, definition(TRIGGER, request_node()))
    done = scan(tenant)
    assert done.status == "completed", done.last_error
    assert "no-timeout" in rules(tenant, done)
    with tenant_scope(tenant):
        row = ScannedWorkflow.objects.get()
        workflow.refresh_from_db()
    assert row.version == 1
    assert row.structure_score is not None
    assert 0 < row.structure_score < 100
    assert row.health_score == row.structure_score, "nothing failed"
    assert (workflow.health_score, workflow.structure_score) == (
        row.health_score,
        row.structure_score,
    )
    assert done.issues_found == row.findings == sum(done.summary["by_rule"].values())
    assert (done.workflows_scanned, done.workflow_count) == (1, 1)


def test_failures_of_the_last_week_cost_at_most_twenty_points(tenant: Tenant) -> None:
    workflow = defined(tenant, definition(TRIGGER))
    now = dt.datetime.now(dt.UTC)
    for minutes, status in enumerate([Status.FAILED, *[Status.SUCCESS] * 3]):
        record(message(workflow, now - dt.timedelta(minutes=minutes + 1), status, 100))
    scan(tenant)
    with tenant_scope(tenant):
        row = ScannedWorkflow.objects.get()
    assert row.execution_penalty == pytest.approx(5.0), "25 % failed"
    assert row.structure_score is not None
    assert row.health_score == pytest.approx(row.structure_score - 5.0)
    assert scans.execution_penalty(1.0) == 20.0
    assert scans.execution_penalty(None) == 0.0


def test_without_a_definition_there_is_no_score_and_that_is_said(tenant: Tenant) -> None:
    make_workflow(make_environment(tenant))
    done = scan(tenant)
    with tenant_scope(tenant):
        row = ScannedWorkflow.objects.get()
    assert done.status == "completed"
    assert (row.structure_score, row.health_score, row.version) == (None, None, None)


def test_the_end_is_an_event_with_the_worst(tenant: Tenant) -> None:
    workflow = defined(tenant, definition(request_node()))
    done = scan(tenant)
    with tenant_scope(tenant):
        [event] = Event.objects.filter(kind="scan.finished")
    assert event.body["scan"] == done.pk
    assert event.body["status"] == "completed"
    assert event.body["worst"][0]["workflow"] == workflow.pk


@pytest.mark.parametrize(
    ("scope", "expected"), [("all", {"on", "off", "unknown"}), ("active", {"on"})]
)
def test_the_scope_decides_what_is_looked_at(
    tenant: Tenant, scope: str, expected: set[str]
) -> None:
    for name, active in (("on", True), ("off", False), ("unknown", None)):
        document = definition(TRIGGER) | {"name": name, "active": active}
        if active is None:
            del document["active"]
        defined(tenant, document, name=name)
    done = scan(tenant, scope=scope)
    with tenant_scope(tenant):
        names = ScannedWorkflow.objects.filter(scan=done).values_list("workflow__name", flat=True)
        assert set(names) == expected


def test_selected_workflows_of_another_tenant_are_never_looked_at(tenant: Tenant) -> None:
    other = make_tenant("other")
    theirs = defined(other, definition(TRIGGER))
    mine = defined(tenant, definition(TRIGGER))
    done = scan(tenant, scope="selected", selected_ids=[theirs.pk, mine.pk])
    with tenant_scope(tenant):
        assert [row.workflow_id for row in ScannedWorkflow.objects.filter(scan=done)] == [mine.pk]


def test_a_scan_that_dies_between_steps_goes_on(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "_AT_ONCE", 2)
    for _ in range(5):
        defined(tenant, definition(TRIGGER, request_node()))
    looked = scans._look_at
    died: list[bool] = []

    def dies_once(workflows: Any) -> Any:
        if workflows and not died and len(list(Scan.objects.filter(position__gt=0))) == 1:
            died.append(True)
            raise RuntimeError("out of memory")
        return looked(workflows)

    monkeypatch.setattr(scans, "_look_at", dies_once)
    monkeypatch.setattr(scans, "rest", lambda attempts: dt.timedelta(0))
    done = scan(tenant)
    assert died
    with tenant_scope(tenant):
        Scan.objects.filter(pk=done.pk, status="running").update(due_at=dt.datetime.now(dt.UTC))
        drain("scan")
        done.refresh_from_db()
        assert ScannedWorkflow.objects.filter(scan=done).count() == 5
    assert (done.status, done.workflows_scanned) == ("completed", 5)


def test_a_scan_that_fails_four_times_is_reported(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined(tenant, definition(TRIGGER))

    def broken(workflows: Any) -> Any:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(scans, "_look_at", broken)
    done = scan(tenant)
    with tenant_scope(tenant):
        for _ in range(scans.MAX_ATTEMPTS - 1):
            assert done.status == "pending"
            Scan.objects.filter(pk=done.pk).update(due_at=dt.datetime.now(dt.UTC))
            drain("scan")
            done.refresh_from_db()
        [event] = Event.objects.filter(kind="scan.finished")
    assert done.status == "failed"
    assert "disk on fire" in done.problem
    assert event.body["status"] == "failed"


def test_retries_come_after_1_5_and_15_minutes() -> None:
    assert [scans.rest(n).total_seconds() / 60 for n in (1, 2, 3)] == [1, 5, 15]


def test_a_canceled_scan_keeps_what_it_found_and_ends(tenant: Tenant) -> None:
    defined(tenant, definition(TRIGGER))
    with tenant_scope(tenant):
        started = schedules.run_now(tenant, None, by=None)
        assert scans.cancel(started)
        assert not scans.cancel(started)
        drain("scan")
        started.refresh_from_db()
    assert started.status == "canceled"


def test_a_workflow_that_can_not_be_linted_does_not_end_the_scan(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = defined(tenant, definition(TRIGGER))
    defined(tenant, definition(TRIGGER))

    def graph_of(version: WorkflowVersion) -> Any:
        if version.workflow_id == bad.pk:
            raise RuntimeError("nobody foresaw this")
        return definitions.graph_of(version)

    monkeypatch.setattr(scans, "graph_of", graph_of)
    done = scan(tenant)
    assert (done.status, done.workflows_scanned) == ("completed", 2)
    with tenant_scope(tenant):
        assert ScannedWorkflow.objects.get(workflow=bad).problem == "RuntimeError"


def test_two_scans_are_compared(tenant: Tenant) -> None:
    workflow = defined(tenant, definition(TRIGGER, request_node()))
    before = scan(tenant)
    mended = request_node(options={"timeout": 10_000})
    unsafe = {"allowUnauthorizedCerts": True, "timeout": 10_000}
    with tenant_scope(tenant):
        store_definition(
            workflow,
            definition(
                TRIGGER, mended | {"parameters": mended["parameters"] | {"options": unsafe}}
            ),
            source=WorkflowVersion.Source.UPLOAD,
            by=None,
        )
    after = scan(tenant)
    with tenant_scope(tenant):
        found = difference(before, after)
        new = set(found.new.values_list("rule", flat=True))
        fixed = set(found.fixed.values_list("rule", flat=True))
        [changed] = found.changed
    assert "tls-check-off" in new
    assert "no-timeout" in fixed
    assert changed.workflow_id == workflow.pk
    assert (after.summary["new"], after.summary["fixed"]) == (len(new), len(fixed))


def test_a_scan_is_compared_with_the_one_before_whoever_asked_for_it(tenant: Tenant) -> None:
    """Found by a new user: after a schedule's "Run now", "Scan now" was compared with nothing."""
    workflow = defined(tenant, definition(TRIGGER, request_node()))
    with tenant_scope(tenant):
        schedule = Schedule.objects.create(tenant=tenant, name="Nightly")
    by_schedule = scan(tenant, schedule=schedule)
    of_one = scan(tenant, scope="selected", selected_ids=[workflow.pk])
    assert of_one.summary["compared_with"] is None, "it looked at others"
    by_person = scan(tenant)
    assert by_person.summary["compared_with"] == by_schedule.pk
    assert (by_person.summary["new"], by_person.summary["fixed"]) == (0, 0)


def test_what_was_not_looked_at_again_is_not_fixed(tenant: Tenant) -> None:
    kept, left = (defined(tenant, definition(TRIGGER, request_node())) for _ in range(2))
    before = scan(tenant)
    after = scan(tenant, scope="selected", selected_ids=[kept.pk])
    with tenant_scope(tenant):
        assert not difference(before, after).fixed.exists()
        assert left.pk != kept.pk


def counted(before: Scan, after: Scan) -> dict[str, int]:
    """How many findings a comparison tells of each kind."""
    with tenant_scope(before.tenant):
        found = difference(before, after)
        kinds = ("new", "first_seen", "fixed", "persisting")
        return {name: n for name in kinds if (n := getattr(found, name).count())}


def test_findings_of_a_workflow_that_is_scanned_for_the_first_time_are_not_new(
    tenant: Tenant,
) -> None:
    defined(tenant, definition(TRIGGER, request_node()))
    undefined = make_workflow(make_environment(tenant))
    before = scan(tenant)
    defined(tenant, definition(TRIGGER, request_node()))
    with tenant_scope(tenant):
        source = WorkflowVersion.Source.UPLOAD
        store_definition(undefined, definition(TRIGGER, request_node()), source=source, by=None)
    after = scan(tenant)
    each = before.issues_found
    assert counted(before, after) == {"first_seen": 2 * each, "persisting": each}
    assert (after.summary["new"], after.summary["first_seen"]) == (0, 2 * each)
    with tenant_scope(tenant):
        changed = {row.workflow_id for row in difference(before, after).changed}
    assert changed == {undefined.pk}, "what was not looked at before has not changed"


def test_a_workflow_that_can_not_be_linted_any_more_is_not_mended(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    defined(tenant, definition(TRIGGER, request_node()))
    before = scan(tenant)

    def broken(*_: Any) -> None:
        raise RuntimeError("a definition that nobody foresaw")

    monkeypatch.setattr(scans, "check", broken)
    after = scan(tenant)
    assert counted(before, after) == {}


def test_health_that_is_unknown_both_times_has_not_changed(tenant: Tenant) -> None:
    make_workflow(make_environment(tenant))
    before, after = scan(tenant), scan(tenant)
    with tenant_scope(tenant):
        assert not difference(before, after).changed.exists()


def wide(count: int) -> dict[str, Any]:
    """A workflow with so many requests without time limit, all behind one trigger."""
    nodes = [request_node() | {"id": f"r{n}", "name": f"Ask {n}"} for n in range(count)]
    targets = [{"node": node["name"], "type": "main", "index": 0} for node in nodes]
    connections = {"Start": {"main": [targets]}}
    return definition(TRIGGER, *nodes) | {"connections": connections}


def test_many_findings_of_one_rule_are_counted_and_the_first_are_listed(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "MOST_LISTED", 3)
    defined(tenant, wide(10))
    done = scan(tenant)
    with tenant_scope(tenant):
        listed = list(Finding.objects.filter(scan=done, rule="no-timeout").order_by("pk"))
        row = ScannedWorkflow.objects.get()
    assert [each.more for each in listed] == [0, 0, 7]
    assert listed[-1].message.endswith("And 7 more of this rule in this workflow.")
    assert done.summary["by_rule"]["no-timeout"] == 10
    assert done.issues_found == row.findings == sum(done.summary["by_rule"].values())
    assert done.issues_found == sum(done.summary["by_severity"].values())


def test_findings_are_stored_a_few_at_a_time(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "_STEP_FINDINGS", 10)
    monkeypatch.setattr(scans, "_INSERTED_AT_ONCE", 4)
    stored: list[int] = []
    store = scans._store

    def watched(*args: Any) -> None:
        store(*args)
        stored.append(len(args[1]))

    monkeypatch.setattr(scans, "_store", watched)
    for _ in range(3):
        defined(tenant, wide(10))
    assert scan(tenant).workflows_scanned == 3
    assert stored == [1, 1, 1], "a step ends where it has found enough"


def test_a_workflow_that_kills_its_worker_is_passed_over(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are scanned, whatever the linter does with it."""
    documents = [definition(TRIGGER, request_node()) for _ in range(5)]
    workflows = [defined(tenant, document) for document in documents]
    deadly, tried = workflows[2], []
    lint = scans._lint

    class Killed(BaseException):
        pass

    def kills(workflow: Workflow, *args: Any) -> Any:
        if workflow == deadly:
            tried.append(workflow)
            raise Killed
        return lint(workflow, *args)

    monkeypatch.setattr(scans, "_lint", kills)
    with tenant_scope(tenant):
        started = schedules.run_now(tenant, None, by=None)
        for _ in range(2):
            with pytest.raises(Killed):
                drain("scan")
            Scan.objects.update(leased_until=dt.datetime.now(dt.UTC))
        drain("scan")
        started.refresh_from_db()
        problems = dict(ScannedWorkflow.objects.values_list("workflow_id", "problem"))
    assert (started.status, started.workflows_scanned) == ("completed", 5), started.last_error
    assert problems == {each.pk: None for each in workflows} | {deadly.pk: "took too long"}
    assert len(tried) == 2


def test_an_attempt_that_failed_by_itself_blames_no_workflow(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = defined(tenant, definition(TRIGGER))
    look, failures = scans._look_at, iter(range(2))

    def fails_twice(workflows: Any) -> Any:
        if next(failures, None) is not None:
            raise RuntimeError("the disk is full")
        return look(workflows)

    monkeypatch.setattr(scans, "_look_at", fails_twice)
    monkeypatch.setattr(scans, "rest", lambda attempts: dt.timedelta(0))
    started = scan(tenant)
    with tenant_scope(tenant):
        for _ in range(2):
            Scan.objects.filter(status__in=Scan.OPEN).update(due_at=dt.datetime.now(dt.UTC))
            drain("scan")
        started.refresh_from_db()
        assert ScannedWorkflow.objects.get(workflow=workflow).problem is None
    assert started.status == "completed"


def test_workflows_that_are_made_during_a_scan_count_in_both_numbers(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "_AT_ONCE", 1)
    defined(tenant, definition(TRIGGER))
    look = scans._look_at

    def makes_more(workflows: Any) -> Any:
        if Scan.objects.filter(position__gt=0).exists() and Workflow.objects.count() < 3:
            defined(tenant, definition(TRIGGER))
        return look(workflows)

    defined(tenant, definition(TRIGGER))
    monkeypatch.setattr(scans, "_look_at", makes_more)
    done = scan(tenant)
    assert (done.workflows_scanned, done.workflow_count) == (3, 3)
