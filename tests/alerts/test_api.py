"""The API of alerts: every field of the requirements, refusals at their place, incidents."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from django.core import mail
from pytest_django import Settings

from alerts.models import AlertSettings, Incident, WorkflowPreference
from monitoring.models import Workflow
from tenants import audit
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import fail, make_settings, settle
from tests.alerts.receivers import answering, receiver
from tests.monitoring.api.conftest import Api, api_for
from tests.monitoring.factories import make_environment, make_workflow
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db
SETTINGS = "/api/alerts/settings"


def test_without_settings_the_defaults_of_the_requirements_hold(api: Api) -> None:
    found = api.get(SETTINGS)
    assert found | {"severities": {}} == {
        "enabled": True,
        "failure_threshold": 3,
        "time_window_hours": 24,
        "alert_on_critical": True,
        "alert_on_warning": True,
        "alert_on_info": False,
        "alert_on_scan": True,
        "repeat_minutes": 60,
        "alert_email": None,
        "alert_emails": [],
        "webhook_url": None,
        "webhook_switched_off_at": None,
        "webhook_secret": None,
        "severities": {},
        "workflows": [],
    }
    assert found["severities"]["payment"] == "critical"
    assert found["severities"]["timeout"] == "info"


@pytest.mark.parametrize("path", [SETTINGS, "/api/alerts/configure"])
def test_settings_in_the_words_of_the_requirements(
    api: Api, workflow: Workflow, path: str, tenant: Tenant
) -> None:
    changed = api.post(
        path,
        {
            "enabled": False,
            "failureThreshold": 5,
            "timeWindowHours": 12,
            "alertOnCritical": False,
            "alertOnInfo": True,
            "alertEmail": "a@example.com, b@example.com,a@example.com",
            "webhookUrl": "https://example.com/hook",
            "locationId": "ignored",
            "severities": {"timeout": "critical"},
            "workflows": [
                {"workflowId": "invoices", "failureThreshold": 1, "alertEmail": ["c@example.com"]}
            ],
        },
    ).json()
    secret = changed.pop("webhook_secret")
    assert secret.startswith("whsec_")
    shown = api.get(SETTINGS)
    assert shown.pop("webhook_secret") is None, "shown once"
    assert shown == changed
    assert (shown["enabled"], shown["failure_threshold"], shown["time_window_hours"]) == (
        False,
        5,
        12,
    )
    assert (shown["alert_on_critical"], shown["alert_on_info"]) == (False, True)
    assert shown["alert_email"] == "a@example.com, b@example.com"
    assert shown["severities"]["timeout"] == "critical"
    assert shown["workflows"] == [
        {
            "workflow_id": "invoices",
            "environment_id": workflow.environment_id,
            "enabled": None,
            "failure_threshold": 1,
            "alert_email": "c@example.com",
        }
    ]
    again = api.post(path, {"failure_threshold": 6, "severities": {"timeout": "info"}}).json()
    assert (again["failure_threshold"], again["time_window_hours"]) == (6, 12), "the rest stays"
    assert again["severities"]["timeout"] == "info"
    api.post(path, {"workflows": [{"workflow_id": "invoices"}]})
    with tenant_scope(tenant):
        assert not WorkflowPreference.objects.exists(), "as for all again"


def test_a_renewed_secret_is_another_one_and_the_old_signs_for_a_day(
    api: Api, tenant: Tenant
) -> None:
    first = api.post(SETTINGS, {"webhookUrl": "https://example.com/a"}).json()["webhook_secret"]
    assert (
        api.post(SETTINGS, {"webhookUrl": "https://example.com/b"}).json()["webhook_secret"] is None
    )
    second = api.post(SETTINGS, {"renewWebhookSecret": True}).json()["webhook_secret"]
    with tenant_scope(tenant):
        stored = AlertSettings.objects.get()
    assert stored.webhook_secret_renewed_at is not None
    assert stored.signing_secrets(stored.webhook_secret_renewed_at) == [second, first]


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"failureThreshold": 0}, ["failure_threshold"]),
        ({"failureThreshold": "many"}, ["failure_threshold"]),
        ({"failureThreshold": 1e400}, None),
        ({"timeWindowHours": 10_000}, ["time_window_hours"]),
        ({"enabled": "yes"}, ["enabled"]),
        ({"repeatMinutes": 1}, ["repeat_minutes"]),
        ({"alertEmail": "nobody"}, ["alert_email"]),
        ({"alertEmail": [f"a{n}@example.com" for n in range(30)]}, ["alert_email"]),
        ({"alertEmail": "a@example.com\r\nBcc: b@example.com"}, ["alert_email"]),
        ({"alertEmail": '"\x01"@example.com'}, ["alert_email"]),
        ({"alertEmail": ['"\u202e"@example.com']}, ["alert_email"]),
        ({"webhookUrl": "ftp://example.com"}, ["webhook_url"]),
        ({"webhookUrl": "http://[fec0::1]/"}, ["webhook_url"]),
        ({"webhookUrl": "http://127.0.0.1/"}, ["webhook_url"]),
        ({"webhookUrl": "http://[::1]/"}, ["webhook_url"]),
        ({"webhookUrl": "https://user:secret@example.com/"}, ["webhook_url"]),
        ({"severities": {"nonsense": "info"}}, ["severities", "nonsense"]),
        ({"severities": {"timeout": "fatal"}}, ["severities", "timeout"]),
        ({"workflows": [{"workflowId": "unknown"}]}, ["workflows", 0, "workflow_id"]),
        ({"workflows": [{}]}, ["workflows", 0]),
        (
            {"workflows": [{"workflowId": "invoices", "alertEmail": "x"}]},
            ["workflows", 0, "alert_email"],
        ),
        ([], []),
        ("text", []),
    ],
)
def test_what_is_wrong_is_said_at_its_place_and_changes_nothing(
    api: Api, workflow: Workflow, tenant: Tenant, body: Any, loc: list[Any] | None
) -> None:
    answer = api.post(SETTINGS, body)
    assert answer.status_code in (400, 422)
    if loc is not None:
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["body", *loc]
    with tenant_scope(tenant):
        assert not AlertSettings.objects.exists()
        assert not WorkflowPreference.objects.exists()


def test_a_workflow_id_of_several_environments_needs_the_environment(
    api: Api, workflow: Workflow, tenant: Tenant
) -> None:
    make_workflow(make_environment(tenant), external_id="invoices")
    one = {"workflow_id": "invoices", "enabled": False}
    answer = api.post(SETTINGS, {"workflows": [one]})
    assert answer.status_code == 409
    assert len(answer.json()["candidates"]) == 2
    one["environment_id"] = workflow.environment_id
    assert api.post(SETTINGS, {"workflows": [one]}).status_code == 200


def test_the_test_tells_what_each_channel_answered(
    api: Api, tenant: Tenant, settings: Settings
) -> None:
    assert api.post("/api/alerts/test", {}).json() == {"success": False, "data": []}
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    with receiver(answering(503)) as running:
        make_settings(tenant, "a@example.com", webhook_url=running.url, webhook_secret="whsec_eHg=")
        found = api.post("/api/alerts/test", {}).json()
    assert found["success"] is False
    by_channel = {each["channel"]: each for each in found["data"]}
    assert by_channel["email"]["success"] is True
    assert by_channel["webhook"]["success"] is False
    assert "503" in by_channel["webhook"]["detail"]
    assert len(mail.outbox) == 1
    settle()
    assert len(mail.outbox) == 1, "a test is not tried again"


def test_incidents_are_listed_acknowledged_and_resolved(
    api: Api, workflow: Workflow, tenant: Tenant
) -> None:
    make_settings(tenant, "a@example.com")
    fail(workflow, 3)
    settle()
    [found] = api.get("/api/alerts/incidents?status=open")["data"]
    assert found["workflow_id"] == "invoices"
    assert (found["rule"], found["severity"], found["count"]) == ("failures", "warning", 3)
    one = f"/api/alerts/incidents/{found['id']}"
    done = api.post(f"{one}/ack", {}).json()
    assert done["status"] == "acknowledged"
    assert done["acknowledged_by"].startswith("token ")
    assert api.post(f"{one}/ack", {}).status_code == 409
    assert api.get("/api/alerts/incidents?status=open")["data"] == []
    assert len(api.get("/api/alerts/incidents?status=open,acknowledged")["data"]) == 1
    assert api.post(f"{one}/resolve", {}).json()["status"] == "resolved"
    assert api.post(f"{one}/resolve", {}).status_code == 409
    assert api.post(f"{one}/ack", {}).status_code == 409
    assert api.send("GET", "/api/alerts/incidents?status=nonsense").status_code == 400
    assert api.post("/api/alerts/incidents/999/ack", {}).status_code == 404
    assert api.post("/api/alerts/incidents/x/ack", {}).status_code == 404


def test_pages_of_incidents_are_stable(api: Api, workflow: Workflow, tenant: Tenant) -> None:
    for number in range(5):
        fail(make_workflow(workflow.environment, name=f"Flow {number}"), 3)
    settle()
    seen, cursor = [], ""
    while True:
        page = api.get(f"/api/alerts/incidents?limit=2&cursor={cursor}")
        assert page["pagination"]["total"] == 5
        seen += [each["id"] for each in page["data"]]
        cursor = page["pagination"]["nextCursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert api.send("GET", "/api/alerts/incidents?cursor=xyz").status_code == 400
    for digits in (20, 900, 5_000):
        path = f"/api/alerts/incidents?cursor={'9' * digits}"
        assert api.send("GET", path).status_code == 400


def test_a_token_of_one_environment_sees_its_incidents_only(
    workflow: Workflow, tenant: Tenant
) -> None:
    other = make_environment(tenant)
    fail(workflow, 3)
    settle()
    bound = api_for(tenant, environment_id=other.pk)
    assert bound.get("/api/alerts/incidents")["data"] == []
    with tenant_scope(tenant):
        pk = Incident.objects.get().pk
    assert bound.post(f"/api/alerts/incidents/{pk}/ack", {}).status_code == 404


def test_a_token_of_one_environment_changes_what_is_told_of_its_workflows_only(
    workflow: Workflow, tenant: Tenant
) -> None:
    elsewhere = make_workflow(make_environment(tenant), external_id="elsewhere")
    bound = api_for(tenant, environment_id=workflow.environment_id)
    for change in (
        {"enabled": False},
        {"alertEmail": "me@example.com"},
        {"webhookUrl": "https://example.com/"},
        {"renewWebhookSecret": True},
        {"severities": {"timeout": "critical"}},
        {"workflows": [{"workflowId": "invoices"}], "alertOnCritical": False},
    ):
        answer = bound.post(SETTINGS, change)
        assert answer.status_code == 403, change
        assert "bound to one environment" in answer.json()["detail"]
    assert bound.post("/api/alerts/test", {}).status_code == 403
    own = {"workflows": [{"workflowId": "invoices", "enabled": False}]}
    assert bound.post(SETTINGS, own).status_code == 200
    theirs = {"workflows": [{"workflowId": elsewhere.external_id, "enabled": False}]}
    assert bound.post(SETTINGS, theirs).status_code == 422
    with tenant_scope(tenant):
        assert not AlertSettings.objects.exists()
        assert WorkflowPreference.objects.get().workflow_id == workflow.pk


@pytest.mark.parametrize("path", ["ack", "resolve"])
def test_an_act_that_can_not_be_audited_is_not_done(
    api: Api, workflow: Workflow, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        incident = Incident.objects.get()
    monkeypatch.setattr(audit, "record", lambda *_, **__: 1 / 0)
    with pytest.raises(AssertionError, match="internal-error"):
        api.post(f"/api/alerts/incidents/{incident.pk}/{path}", {})
    with tenant_scope(tenant):
        assert Incident.objects.get().status == "open"


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (Role.OPERATOR, 200)])
def test_operators_acknowledge_by_their_session(
    workflow: Workflow, tenant: Tenant, role: Role, status: int
) -> None:
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        pk = Incident.objects.get().pk
    client = signed_in_as(make_member(tenant, role))
    answer = client.post(f"/api/alerts/incidents/{pk}/ack", b"{}", content_type="application/json")
    assert answer.status_code == status


def test_who_may_not_change_addresses_reads_them_masked(workflow: Workflow, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com", webhook_url="https://hooks.example.com/T0/secret")
    with tenant_scope(tenant):
        WorkflowPreference.objects.create(
            tenant=tenant, workflow=workflow, emails=["own@example.com"]
        )

    def shown(client: Any) -> tuple[str, ...]:
        found = client.get(SETTINGS)
        found = found if isinstance(found, dict) else found.json()
        [own] = found["workflows"]
        assert found["alert_email"] == found["alert_emails"][0]
        return found["webhook_url"], *found["alert_emails"], own["alert_email"]

    whole = ("https://hooks.example.com/T0/secret", "a@example.com", "own@example.com")
    masked = ("https://hooks.example.com/…", "…@example.com", "…@example.com")
    bound = {"environment_id": workflow.environment_id}
    assert shown(api_for(tenant, "write")) == whole
    assert shown(api_for(tenant, "read")) == masked
    assert shown(api_for(tenant, "read", **bound)) == masked
    assert shown(api_for(tenant, "write", **bound)) == (*masked[:2], "own@example.com")
    assert shown(signed_in_as(make_member(tenant, Role.ADMIN))) == whole
    for role in (Role.OPERATOR, Role.VIEWER):
        assert shown(signed_in_as(make_member(tenant, role))) == masked
