"""From failures to an incident and back: what is opened, told, repeated, resolved, opened again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from alerts import actions, checks, subscriptions
from alerts.models import (
    AlertSettings,
    Check,
    Incident,
    Notification,
    SeverityOverride,
    WorkflowPreference,
)
from alerts.rules.base import Case, Verdict, workflow_rules
from monitoring.models import Event, Workflow
from monitoring.words import ErrorClass, Severity, Status
from scheduling import due
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.alerts.factories import (
    claim_looks,
    fail,
    make_settings,
    pass_time,
    relay,
    run,
    settle,
    succeed,
    work,
)
from tests.monitoring.factories import make_tenant, make_workflow

pytestmark = pytest.mark.django_db


def incidents(tenant: Tenant) -> list[Incident]:
    with tenant_scope(tenant):
        return list(Incident.objects.order_by("id"))


def the_incident(tenant: Tenant) -> Incident:
    [incident] = incidents(tenant)
    return incident


def subjects() -> list[str]:
    return [str(each.subject) for each in mail.outbox]


def test_three_failures_are_one_incident_and_one_mail(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 2)
    settle()
    assert incidents(tenant) == []
    fail(workflow)
    settle()
    incident = the_incident(tenant)
    assert (incident.count, incident.status, incident.suppressed) == (3, "open", "")
    assert subjects() == ["[warning] Invoice sync failed 3 times in 24 hours (Alerts)"]
    assert mail.outbox[0].to == ["ops@example.com"]
    settle()
    assert len(mail.outbox) == 1


def test_people_hear_since_when_it_fails_and_not_since_when_that_counts(
    tenant: Tenant, workflow: Workflow
) -> None:
    """Found by a new user: "Since" was when the incident opened, and lay after "Last"."""
    make_settings(tenant, "ops@example.com")
    began = timezone.now() - dt.timedelta(hours=2)
    fail(workflow, at=began - dt.timedelta(days=3))
    for minutes in (0, 30, 60):
        fail(workflow, at=began + dt.timedelta(minutes=minutes))
    settle()
    incident = the_incident(tenant)
    assert incident.first_at is not None
    assert abs(incident.first_at - began) < dt.timedelta(seconds=1)
    assert incident.since <= incident.last_at <= incident.opened_at
    assert f"Since: {began.astimezone(dt.UTC):%d %b %Y %H:%M:%S} UTC" in str(mail.outbox[0].body)
    fail(workflow)
    settle()
    assert the_incident(tenant).first_at == incident.first_at


def test_successes_in_a_row_resolve_it_and_those_who_were_told_hear_of_it(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com", "boss@example.com")
    fail(workflow, 3)
    settle()
    succeed(workflow, 2)
    settle()
    assert the_incident(tenant).status == "open"
    succeed(workflow)
    settle()
    incident = the_incident(tenant)
    assert (incident.status, incident.resolved_by) == ("resolved", "")
    recovery = [each for each in mail.outbox if each.subject.startswith("Resolved: ")]
    assert sorted(each.to[0] for each in recovery) == ["boss@example.com", "ops@example.com"]
    assert "3 successes in a row." in recovery[0].body
    settle()
    assert len(mail.outbox) == 4


def test_a_failure_within_the_window_opens_the_same_one_again(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    succeed(workflow, 3)
    settle()
    fail(workflow)
    settle()
    incident = the_incident(tenant)
    assert (incident.status, incident.count) == ("open", 4)


def test_who_heard_that_it_is_over_hears_at_once_that_it_fails_again(
    tenant: Tenant, workflow: Workflow
) -> None:
    """Found by a new user: after "Resolved" the repeat interval held, and nobody was told."""
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    succeed(workflow, 3)
    settle()
    pass_time(minutes=16)
    fail(workflow)
    settle()
    assert subjects()[2:] == ["[warning] Again: Invoice sync failed 4 times in 24 hours (Alerts)"]
    fail(workflow)
    pass_time(minutes=59)
    settle()
    assert len(mail.outbox) == 3, "from then on the repeat interval holds"
    pass_time(minutes=2)
    settle()
    assert subjects()[3].startswith("[warning] Still: Invoice sync failed 5 times")


def test_a_workflow_that_fails_now_and_then_floods_nobody(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    for _ in range(5):
        succeed(workflow, 3)
        settle()
        pass_time(seconds=30)
        fail(workflow)
        settle()
    assert [subject.split(":")[0] for subject in subjects()[1:]] == ["Resolved"]
    with tenant_scope(tenant):
        held = Notification.objects.filter(state="suppressed")
        assert held.count() == 5
        for decision in held:
            assert "People heard of it a short time before" in decision.reason
    pass_time(minutes=5)
    settle()
    assert subjects()[2:] == ["[warning] Again: Invoice sync failed 8 times in 24 hours (Alerts)"]


def test_opening_again_untold_says_why(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant)
    for _ in range(2):
        fail(workflow, 3)
        settle()
        succeed(workflow, 3)
        settle()
    with tenant_scope(tenant):
        decisions = list(Notification.objects.order_by("id").values_list("kind", "reason"))
    assert decisions == [
        ("opened", "No mail address and no webhook is set."),
        ("reopened", "No mail address and no webhook is set."),
    ]


def test_repeats_come_once_in_the_interval_and_only_with_new_failures(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    pass_time(minutes=61)
    settle()
    assert len(mail.outbox) == 1, "nothing new to say"
    for _ in range(3):
        fail(workflow, 2)
        pass_time(seconds=3)
        settle()
    assert subjects()[1:] == ["[warning] Still: Invoice sync failed 5 times in 25 hours (Alerts)"]
    pass_time(minutes=58)
    settle()
    assert len(mail.outbox) == 2
    pass_time(minutes=2)
    settle()
    assert len(mail.outbox) == 3, "the failures since then are told when the interval is over"
    assert the_incident(tenant).count == 9


def test_what_is_acknowledged_is_not_repeated_but_told_when_it_gets_worse(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        Incident.objects.update(status="acknowledged")
    fail(workflow)
    pass_time(hours=2)
    settle()
    assert len(mail.outbox) == 1
    fail(workflow, error="Your card was declined: insufficient funds")
    pass_time(seconds=3)
    settle()
    assert subjects()[1].startswith("[critical] Invoice sync failed 5 times")
    assert the_incident(tenant).level is Severity.CRITICAL


def test_a_window_without_failure_resolves_it_by_itself(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_settings(tenant, "ops@example.com", time_window_hours=1)
    fail(workflow, 3, at=timezone.now() - dt.timedelta(minutes=59))
    settle()
    assert the_incident(tenant).status == "open"
    pass_time(seconds=50)
    settle()
    assert the_incident(tenant).status == "open"
    monkeypatch.setattr(checks, "database_now", lambda: timezone.now() + dt.timedelta(seconds=61))
    pass_time(seconds=11)
    settle()
    incident = the_incident(tenant)
    assert incident.status == "resolved"
    assert "No failure within 1 hour." in mail.outbox[1].body


def test_after_the_window_it_is_a_new_one(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3, at=timezone.now() - dt.timedelta(hours=23))
    settle()
    succeed(workflow, 3)
    settle()
    pass_time(hours=25)
    fail(workflow, 3)
    settle()
    assert [each.status for each in incidents(tenant)] == ["resolved", "open"]


@pytest.mark.parametrize(
    ("fields", "error", "why"),
    [
        ({"enabled": False}, "HTTP 500", "Alerts are switched off."),
        ({}, "timeout of 5000ms exceeded", "Alerts of severity info are switched off."),
        ({"alert_on_warning": False}, "HTTP 500", "Alerts of severity warning are switched off."),
        ({"emails": []}, "HTTP 500", "No mail address and no webhook is set."),
    ],
)
def test_what_is_not_told_exists_and_says_why(
    tenant: Tenant, workflow: Workflow, fields: dict[str, Any], error: str, why: str
) -> None:
    make_settings(tenant, **{"emails": ["ops@example.com"], **fields})
    fail(workflow, 3, error)
    settle()
    assert the_incident(tenant).suppressed == why
    assert mail.outbox == []
    with tenant_scope(tenant):
        [decision] = Notification.objects.all()
        assert (decision.state, decision.reason) == ("suppressed", why)
        AlertSettings.objects.update(
            enabled=True, alert_on_info=True, alert_on_warning=True, emails=["ops@example.com"]
        )
    fail(workflow, 1, error)
    pass_time(seconds=3)
    settle()
    assert the_incident(tenant).suppressed == ""
    assert len(mail.outbox) == 1, "told as soon as somebody wants to know"


def test_a_workflow_may_differ_from_the_tenant(tenant: Tenant, workflow: Workflow) -> None:
    quiet = make_workflow(workflow.environment, name="Quiet one")
    make_settings(tenant, "ops@example.com")
    with tenant_scope(tenant):
        own = {"tenant": tenant, "failure_threshold": 1, "emails": ["owner@example.com"]}
        WorkflowPreference.objects.create(workflow=workflow, **own)
        WorkflowPreference.objects.create(tenant=tenant, workflow=quiet, enabled=False)
    fail(workflow)
    fail(quiet, 5)
    settle()
    assert [each.to for each in mail.outbox] == [["owner@example.com"]]
    assert [each.suppressed for each in incidents(tenant)] == [
        "",
        "Alerts of this workflow are switched off.",
    ]


def test_a_tenant_decides_how_bad_a_class_of_errors_is(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    with tenant_scope(tenant):
        SeverityOverride.objects.create(
            tenant=tenant, error_class=ErrorClass.TIMEOUT, severity=Severity.CRITICAL
        )
    fail(workflow, 3, "timeout of 5000ms exceeded")
    settle()
    assert subjects()[0].startswith("[critical] ")


def test_an_incident_that_a_person_resolved_stays_so_until_it_fails_again(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        by_person = Incident.objects.get()
        actions.resolve(by_person.pk, by="anna@example.com")
    run(workflow, Status.CANCELED)
    subscribed_again(tenant, workflow)
    assert the_incident(tenant).status == "resolved"
    assert "Resolved by anna@example.com." in mail.outbox[1].body
    fail(workflow)
    settle()
    assert the_incident(tenant).status == "open"


def subscribed_again(tenant: Tenant, workflow: Workflow) -> None:
    with tenant_scope(tenant):
        subscriptions.make_checks_due([workflow.pk])
    settle()


def test_ten_thousand_changes_are_one_row_to_look_at(
    tenant: Tenant, workflow: Workflow, django_assert_max_num_queries: Any
) -> None:
    body = {"workflow": workflow.pk, "status": "failed", "before": None}
    events = [Event(tenant=tenant, kind="execution.changed", body=body) for _ in range(10_000)]
    with tenant_scope(tenant), django_assert_max_num_queries(2):
        subscriptions.on_executions_changed(events)
    with tenant_scope(tenant):
        assert Check.objects.count() == 1


def test_successes_are_looked_at_only_where_an_incident_is_open(
    tenant: Tenant, workflow: Workflow
) -> None:
    succeed(workflow, 3)
    relay()
    with tenant_scope(tenant):
        assert not Check.objects.exists()


def test_another_tenants_workflow_in_an_event_is_nobodys(
    tenant: Tenant, workflow: Workflow
) -> None:
    other = make_tenant("other")
    with tenant_scope(other):
        subscriptions.make_checks_due([workflow.pk])
    with across_tenants():
        assert not Check.objects.exists()


def test_a_workflow_whose_incident_is_open_is_looked_at_with_measure(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    settle()
    rests = []
    for minutes in (0, 1, 20):
        pass_time(minutes=minutes)
        fail(workflow)
        settle()
        fail(workflow)
        relay()
        with tenant_scope(tenant):
            check = Check.objects.get()
        assert check.due_at == check.calm_until
        assert check.due_at is not None
        rests.append(round((check.due_at - timezone.now()).total_seconds()))
        with tenant_scope(tenant), CaptureQueriesContext(connection) as seen:
            subscriptions.make_checks_due([workflow.pk])
            assert Check.objects.get().due_at == check.due_at
        assert len(seen) == 2
    assert rests == [2, 6, 30]


def test_failures_below_the_threshold_cost_a_few_statements_for_all_workflows(
    tenant: Tenant, workflow: Workflow, django_assert_max_num_queries: Any
) -> None:
    workflows = [workflow, *(make_workflow(workflow.environment) for _ in range(19))]
    for each in workflows:
        fail(each, 2)
    relay()
    claims = claim_looks()
    assert len(claims) == 20
    with django_assert_max_num_queries(16):
        checks.look_at_workflows(claims)
    assert all(claim.ended for claim in claims)
    with tenant_scope(tenant):
        assert not Check.objects.exclude(due_at=None).exists()
    for each in workflows[:5]:
        fail(each)
    settle()
    assert len(incidents(tenant)) == 5


def test_open_incidents_are_counted_up_together(
    tenant: Tenant, workflow: Workflow, django_assert_max_num_queries: Any
) -> None:
    make_settings(tenant, "ops@example.com")
    workflows = [workflow, *(make_workflow(workflow.environment) for _ in range(19))]
    for each in workflows:
        fail(each, 3)
    settle()
    pass_time(minutes=1)
    for each in workflows:
        fail(each)
    relay()
    claims = claim_looks()
    assert len(claims) == 20
    with django_assert_max_num_queries(20 + 22):
        checks.look_at_workflows(claims)
    assert {incident.count for incident in incidents(tenant)} == {4}


def test_a_workflow_that_breaks_a_look_does_not_keep_others_from_being_looked_at(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [make_workflow(workflow.environment) for _ in range(4)]
    for each in (workflow, *others):
        fail(each, 3)
    relay()
    [rule] = workflow_rules()
    look = rule.look

    def breaks(cases: Sequence[Case], now: dt.datetime) -> list[Verdict]:
        if any(case.workflow.pk == workflow.pk for case in cases):
            raise ValueError("this one breaks it")
        return look(cases, now)

    monkeypatch.setattr(rule, "look", breaks)
    due.drain(checks.KIND)
    assert {incident.workflow_id for incident in incidents(tenant)} == {each.pk for each in others}
    with tenant_scope(tenant):
        broken = Check.objects.get(workflow=workflow)
    assert (broken.attempts, broken.last_error) == (1, "ValueError: this one breaks it")


def test_a_failure_while_many_are_looked_at_is_looked_at(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(workflow, 2)
    relay()
    [rule] = workflow_rules()
    look = rule.look

    def and_fails(cases: Sequence[Case], now: dt.datetime) -> list[Verdict]:
        found = look(cases, now)
        monkeypatch.setattr(rule, "look", look)
        fail(workflow)
        relay()
        return found

    monkeypatch.setattr(rule, "look", and_fails)
    work()
    assert the_incident(tenant).count == 3


def test_hundreds_of_open_incidents_are_looked_at_in_turns(
    tenant: Tenant, workflow: Workflow
) -> None:
    """In a storm looking at them again and again would take the machine from those who post."""
    make_settings(tenant, "ops@example.com")
    workflows = [workflow, *(make_workflow(workflow.environment) for _ in range(99))]
    for each in workflows:
        fail(each, 3)
    settle()
    for each in workflows:
        fail(each)
    settle()
    with tenant_scope(tenant):
        until = Check.objects.values_list("calm_until", flat=True)
        rests = [(at - timezone.now()).total_seconds() for at in until if at]
    assert len(rests) == 100
    assert 3 < max(rests) <= 100 / checks.OPEN_LOOKS
