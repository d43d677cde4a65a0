"""What a scan that ended means: incidents of workflows, and one message about all of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from alerts import preferences, scan_news
from alerts.models import (
    AlertSettings,
    Incident,
    IncidentEvent,
    Notification,
    ScanNews,
    WorkflowPreference,
)
from monitoring.models import Event, Workflow
from scheduling.lint.engine import title_of_rule
from scheduling.models import Finding, Scan, ScannedWorkflow
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import make_settings, settle, work
from tests.monitoring.factories import make_workflow
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db


def make_scan(
    tenant: Tenant,
    *rows: tuple[Workflow, int, float | None],
    status: str = "completed",
    **fields: Any,
) -> Scan:
    """A scan that ended with (workflow, critical findings, health)."""
    with tenant_scope(tenant):
        scan = Scan.objects.create(
            tenant=tenant,
            status=status,
            workflows_scanned=len(rows),
            issues_found=sum(critical for _, critical, _ in rows),
            critical_issues=sum(critical for _, critical, _ in rows),
            **fields,
        )
        for workflow, critical, health in rows:
            ScannedWorkflow.objects.create(
                tenant=tenant,
                scan=scan,
                workflow=workflow,
                structure_score=health,
                execution_penalty=0,
                health_score=health,
                findings=critical,
                critical=critical,
            )
    return scan


def finish_scan(tenant: Tenant, *rows: tuple[Workflow, int, float | None], **fields: Any) -> Scan:
    """A scan that ended and told the outbox, and what follows from it."""
    scan = make_scan(tenant, *rows, **fields)
    with tenant_scope(tenant):
        body = {
            "scan": scan.pk,
            "status": scan.status,
            "critical_issues": 0,
            "issues_found": 0,
            "worst": [],
        }
        Event.objects.create(
            tenant=tenant, kind="scan.finished", body=body, created_at=timezone.now()
        )
    settle()
    return scan


def incidents(tenant: Tenant) -> dict[str, str]:
    with tenant_scope(tenant):
        return dict(Incident.objects.values_list("title", "status"))


@pytest.fixture
def others(workflow: Workflow) -> list[Workflow]:
    return [make_workflow(workflow.environment, name=f"Flow {n}") for n in range(30)]


def test_the_first_scan_of_many_workflows_is_one_message(
    tenant: Tenant, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    finish_scan(tenant, *[(each, 2, 30.0) for each in others])
    assert len(incidents(tenant)) == 30
    [told] = mail.outbox
    assert told.subject == "[critical] Scan finished: 30 workflows need a look (Alerts)"
    assert "and 10 more" in told.body
    with tenant_scope(tenant):
        assert not Incident.objects.filter(told_at=None).exists()


def test_critical_findings_and_poor_health_open_and_the_next_scan_ends_them(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    poor, fine, unknown = others[:3]
    finish_scan(tenant, (workflow, 1, 80.0), (poor, 0, 49.9), (fine, 0, 50.0), (unknown, 0, None))
    assert incidents(tenant) == {
        "Invoice sync: 1 critical finding": "open",
        "Flow 0: health 49 of 100": "open",
    }
    finish_scan(tenant, (workflow, 0, 95.0), (poor, 3, 20.0))
    assert incidents(tenant) == {
        "Invoice sync: 1 critical finding": "resolved",
        "Flow 0: 3 critical findings and health 20 of 100": "open",
    }
    assert len(mail.outbox) == 2
    assert "Mended: 1 workflow\n" in mail.outbox[1].body
    assert str(mail.outbox[1].subject).startswith("[info] "), "nothing of it is new"


def test_what_was_found_is_named_with_its_node(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    scan = make_scan(tenant, (workflow, 4, 10.0))
    with tenant_scope(tenant):
        ScannedWorkflow.objects.update(findings=6)
        for number, (rule, severity) in enumerate(
            [("no-timeout", 2), *[("secret-in-plain-text", 3)] * 4]
        ):
            Finding.objects.create(
                tenant=tenant, scan=scan, workflow=workflow, rule=rule, severity=severity,
                node_name=f"Ask {number}" if number != 2 else "", fingerprint=str(number),
            )  # fmt: skip
    end_scans(scan)
    with tenant_scope(tenant):
        incident = Incident.objects.get()
    title = title_of_rule("secret-in-plain-text")
    said = f"{title} (secret-in-plain-text)"
    detail = f"{said} at “Ask 1”; {said}; {said} at “Ask 3”; 3 more findings."
    assert incident.detail == detail
    assert detail in str(mail.outbox[0].body)
    client = signed_in_as(make_member(tenant, Role.VIEWER))
    shown = client.get(f"/t/alerts/alerts/{incident.pk}/").content.decode()
    assert f"/workflows/{workflow.pk}/?tab=health" in shown
    assert f"/scans/{scan.pk}/?by=findings&amp;workflow={workflow.pk}" in shown


def test_a_scan_without_news_is_a_short_summary_that_can_be_switched_off(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    finish_scan(tenant, (workflow, 0, 90.0))
    assert str(mail.outbox[0].subject) == "[info] Scan finished: nothing critical (Alerts)"
    with tenant_scope(tenant):
        AlertSettings.objects.update(alert_on_scan=False)
    finish_scan(tenant, (workflow, 0, 90.0))
    assert len(mail.outbox) == 1
    with tenant_scope(tenant):
        decision = Notification.objects.latest("id")
    assert (decision.state, "switched off" in decision.reason) == ("suppressed", True)
    finish_scan(tenant, (workflow, 1, 90.0))
    assert len(mail.outbox) == 2, "something critical that is new is told anyway"


def test_a_failed_scan_is_told_and_the_next_one_that_completes_ends_it(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com", alert_on_scan=False)
    for _ in range(2):
        finish_scan(tenant, status="failed", problem="The linter broke.")
    assert incidents(tenant) == {"The scan of all workflows failed": "open"}
    assert [str(each.subject) for each in mail.outbox] == [
        "[warning] The scan of all workflows failed (Alerts)"
    ]
    finish_scan(tenant, (workflow, 0, 90.0))
    assert incidents(tenant) == {"The scan of all workflows failed": "resolved"}
    assert str(mail.outbox[1].subject).startswith("Resolved: ")


def test_the_same_event_twice_is_told_once(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com")
    scan = finish_scan(tenant, (workflow, 1, 90.0))
    with tenant_scope(tenant):
        Event.objects.create(
            tenant=tenant,
            kind="scan.finished",
            body={"scan": scan.pk, "status": "completed"},
            created_at=timezone.now(),
        )
    settle()
    assert len(mail.outbox) == 1


def test_with_alerts_off_nobody_is_told(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com", enabled=False)
    finish_scan(tenant, (workflow, 1, 90.0))
    assert mail.outbox == []
    with tenant_scope(tenant):
        assert Incident.objects.get().suppressed == "Alerts are switched off."


def test_what_nobody_was_told_is_told_when_somebody_wants_to_know(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant)
    finish_scan(tenant, (workflow, 1, 90.0))
    client = signed_in_as(make_member(tenant, Role.OPERATOR))
    with tenant_scope(tenant):
        path = f"/t/alerts/alerts/{Incident.objects.get().pk}/"
    why = "No mail address and no webhook is set."
    assert f"Nobody was told. {why}" in client.get(path).content.decode()
    with tenant_scope(tenant), preferences.changing(tenant) as stored:
        stored.emails = ["ops@example.com"]
        preferences.save_settings(stored)
    shown = client.get(path).content.decode()
    assert "Nobody is told." not in shown
    assert "it is told soon" in shown
    for _ in range(2):
        settle()
    assert [str(each.subject) for each in mail.outbox] == [
        "[critical] Invoice sync: 1 critical finding (Alerts)"
    ]
    with tenant_scope(tenant):
        assert Incident.objects.get().suppressed == ""
    assert "Mail ops@example.com" in client.get(path).content.decode()


# --- scans that overtake each other ---------------------------------------------------------------


def end_scans(*scans: Scan) -> None:
    """Bring the news of scans in this order, one after the other."""
    for scan in scans:
        with tenant_scope(scan.tenant):
            ScanNews.objects.update_or_create(
                scan_id=scan.pk, defaults={"tenant": scan.tenant, "due_at": timezone.now()}
            )
        settle()


def test_news_of_an_older_scan_change_nothing_that_a_later_one_says(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    older = make_scan(tenant, (workflow, 0, 95.0), (others[0], 2, 30.0), (others[1], 2, 30.0))
    later = make_scan(tenant, (workflow, 3, 20.0), (others[0], 0, 95.0))
    end_scans(later, older)
    assert incidents(tenant) == {
        "Invoice sync: 3 critical findings and health 20 of 100": "open",
        "Flow 1: 2 critical findings and health 30 of 100": "open",
    }


def test_a_later_scan_that_did_not_complete_says_nothing(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    older = make_scan(tenant, (workflow, 3, 20.0))
    make_scan(tenant, (workflow, 0, 95.0), status="canceled")
    end_scans(older)
    assert len(incidents(tenant)) == 1


def test_a_failure_is_no_news_when_the_next_scan_has_completed(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    failed = make_scan(tenant, status="failed", problem="The linter broke.")
    end_scans(make_scan(tenant, (workflow, 0, 90.0)), failed)
    assert incidents(tenant) == {}


def test_an_older_scan_that_completed_does_not_end_a_later_failure(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    older = make_scan(tenant, (workflow, 0, 90.0))
    end_scans(make_scan(tenant, status="failed"), older)
    assert incidents(tenant) == {"The scan of all workflows failed": "open"}


def test_a_failed_scan_that_was_tried_again_is_told_once_more(
    tenant: Tenant, workflow: Workflow
) -> None:
    make_settings(tenant, "ops@example.com")
    scan = finish_scan(tenant, status="failed", problem="The linter broke.")
    with tenant_scope(tenant):
        Scan.objects.filter(pk=scan.pk).update(status="completed")
        body = {"scan": scan.pk, "status": "completed"}
        Event.objects.create(
            tenant=tenant, kind="scan.finished", body=body, created_at=timezone.now()
        )
    settle()
    assert incidents(tenant) == {"The scan of all workflows failed": "resolved"}
    assert [str(each.subject) for each in mail.outbox] == [
        "[warning] The scan of all workflows failed (Alerts)",
        "Resolved: The scan of all workflows failed (Alerts)",
        "[info] Scan finished: nothing critical (Alerts)",
    ]


# --- what a workflow's own preferences say --------------------------------------------------------


def prefer(workflow: Workflow, **fields: Any) -> None:
    with tenant_scope(workflow.tenant):
        WorkflowPreference.objects.update_or_create(
            workflow=workflow, defaults={"tenant": workflow.tenant, **fields}
        )


def suppressed(tenant: Tenant) -> dict[str, str]:
    with tenant_scope(tenant):
        rows = Incident.objects.values_list("workflow__name", "suppressed")
        return {name: why for name, why in rows if why}


def test_a_workflow_whose_alerts_are_off_is_not_named(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com")
    prefer(workflow, enabled=False)
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    assert suppressed(tenant) == {"Invoice sync": "Alerts of this workflow are switched off."}
    [told] = mail.outbox
    assert "1 workflow needs a look" in str(told.subject)
    assert "Invoice sync" not in told.body
    prefer(workflow, enabled=None)
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    assert suppressed(tenant) == {}
    assert "2 workflows need a look, 1 of them new" in str(mail.outbox[1].subject)
    prefer(workflow, enabled=False)
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    assert suppressed(tenant) == {"Invoice sync": "Alerts of this workflow are switched off."}
    assert "1 workflow needs a look" in str(mail.outbox[2].subject)


def test_a_workflow_may_be_told_of_while_the_tenants_alerts_are_off(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com", enabled=False)
    prefer(workflow, enabled=True)
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    assert suppressed(tenant) == {"Flow 0": "Alerts are switched off."}
    [told] = mail.outbox
    assert "1 workflow needs a look" in str(told.subject)


def test_a_level_that_is_switched_off_is_not_told(tenant: Tenant, workflow: Workflow) -> None:
    make_settings(tenant, "ops@example.com", alert_on_critical=False)
    finish_scan(tenant, (workflow, 1, 90.0))
    assert suppressed(tenant) == {"Invoice sync": "Alerts of severity critical are switched off."}
    assert str(mail.outbox[0].subject) == "[info] Scan finished: 1 critical issue (Alerts)"
    assert "Invoice sync" not in mail.outbox[0].body


def test_a_workflows_own_addresses_hear_of_it_instead_of_the_tenants(
    tenant: Tenant, workflow: Workflow, others: list[Workflow]
) -> None:
    make_settings(tenant, "ops@example.com", "boss@example.com")
    prefer(workflow, emails=["owner@example.com"])
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    bodies = {address: each.body for each in mail.outbox for address in each.to}
    assert set(bodies) == {"ops@example.com", "boss@example.com", "owner@example.com"}
    for address, body in bodies.items():
        assert ("Invoice sync" in body) is (address == "owner@example.com")
        assert ("Flow 0" in body) is (address != "owner@example.com")
    finish_scan(tenant, (workflow, 1, 90.0), (others[0], 1, 90.0))
    assert len(mail.outbox) == 5, "summaries are the tenant's"
    with tenant_scope(tenant):
        lines = IncidentEvent.objects.filter(kind=IncidentEvent.Kind.TOLD)
        assert sorted(line.text for line in lines) == [
            "In the message about the scan, to 1 address.",
            "In the message about the scan, to 2 addresses.",
        ]


# --- in steps -------------------------------------------------------------------------------------


def test_a_scan_is_settled_in_steps_and_told_once(
    tenant: Tenant,
    others: list[Workflow],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_news, "_AT_ONCE", 7)
    make_settings(tenant, "ops@example.com")
    finish_scan(tenant, *[(each, 1, 90.0) for each in others[:20]])
    scan = make_scan(
        tenant,
        *[(each, 0, 90.0) for each in others[:5]],
        *[(each, 1, 90.0) for each in others[5:]],
    )
    with tenant_scope(tenant):
        news = ScanNews.objects.create(tenant=tenant, scan_id=scan.pk)
        steps = [scan_news.settle_step(news, timezone.now()) for _ in range(5)]
        assert steps == [True, True, True, True, False]
        news.refresh_from_db()
        assert news.settled_at is not None
        assert Notification.objects.filter(kind="scan").count() == 2
    work()
    assert len(mail.outbox) == 2
    assert "25 workflows need a look, 10 of them new" in str(mail.outbox[1].subject)
    assert "Mended: 5 workflows" in mail.outbox[1].body


def test_a_step_that_is_repeated_after_a_crash_counts_nothing_twice(
    tenant: Tenant, others: list[Workflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_news, "_AT_ONCE", 10)
    make_settings(tenant, "ops@example.com")
    scan = make_scan(tenant, *[(each, 1, 90.0) for each in others])
    with tenant_scope(tenant):
        ScanNews.objects.create(tenant=tenant, scan_id=scan.pk, due_at=timezone.now())
    real = scan_news._tell

    def broken(*_: Any) -> None:
        raise RuntimeError("the database went away")

    monkeypatch.setattr(scan_news, "_tell", broken)
    with pytest.raises(RuntimeError):
        work("scan news")
    with tenant_scope(tenant):
        assert Incident.objects.count() == 30, "steps before it are kept"
        ScanNews.objects.update(leased_until=None)
    monkeypatch.setattr(scan_news, "_tell", real)
    work()
    [told] = mail.outbox
    assert "30 workflows need a look" in str(told.subject)
    with tenant_scope(tenant):
        assert set(Incident.objects.values_list("count", flat=True)) == {1}
