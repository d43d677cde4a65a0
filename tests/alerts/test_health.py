"""A webhook that fails for days is switched off, its owners hear of it, and people switch it on."""

from __future__ import annotations

import datetime as dt
import ipaddress

import pytest
from django.core import mail
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from alerts import actions
from alerts.health import FEWEST_TRIES
from alerts.models import AlertSettings, Notification, Target
from config.pace import Pace
from monitoring.models import Workflow
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import fail, make_settings, pass_time, relay, settle, work
from tests.alerts.receivers import Receiver, Serve, answering, receiver
from tests.alerts.test_delivery import SECRET, told, work_for_days
from tests.monitoring.api.conftest import Api
from tests.monitoring.factories import make_workflow
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db
SETTINGS = "/t/alerts/alerts/settings/"


@pytest.fixture(autouse=True)
def _local(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.PACE = Pace(1)


def webhook_to(running: Receiver, tenant: Tenant) -> None:
    make_settings(tenant, webhook_url=running.url, webhook_secret=SECRET)


def target(tenant: Tenant) -> Target:
    with tenant_scope(tenant):
        return Target.objects.get(channel="webhook")


def fail_for_days(workflow: Workflow, days: int) -> None:
    """Something to tell each day, tried until it is given up or the next one comes."""
    for _ in range(days):
        fail(make_workflow(workflow.environment), 3)
        settle()
        work_for_days(1)
        pass_time(hours=1)


@pytest.fixture
def owner(tenant: Tenant) -> Client:
    return signed_in_as(make_member(tenant, Role.OWNER))


def test_after_five_days_of_failures_it_is_switched_off_and_owners_are_told(
    tenant: Tenant, workflow: Workflow, owner: Client
) -> None:
    make_member(tenant, Role.ADMIN)
    with receiver(answering(500)) as running:
        webhook_to(running, tenant)
        fail_for_days(workflow, 4)
        assert target(tenant).switched_off_at is None
        assert mail.outbox == []
        fail_for_days(workflow, 2)
        off_at = target(tenant).switched_off_at
        assert off_at is not None
        assert told(tenant, state="pending") == []
        calls = len(running.calls)
        fail(make_workflow(workflow.environment), 3)
        settle()
        work_for_days(1)
        assert len(running.calls) == calls, "nothing more is sent"
    [said] = mail.outbox
    assert said.subject == (
        f"[warning] Webhook http://127.0.0.1:{running.port}/… is switched off (Alerts)"
    )
    assert "Failing since" in said.body
    assert "The receiver answered 500" in said.body
    assert SETTINGS in said.body
    suppressed = told(tenant, target=None, state="suppressed")
    assert suppressed
    assert all("webhook is switched off" in each.reason for each in suppressed)


def test_one_success_in_between_begins_anew(tenant: Tenant, workflow: Workflow) -> None:
    working: list[bool] = []

    def serve(*args: object) -> None:
        choice: Serve = answering(200 if working else 500)
        choice(*args)  # type: ignore[arg-type]

    with receiver(serve) as running:
        webhook_to(running, tenant)
        fail_for_days(workflow, 4)
        assert target(tenant).failing_since is not None
        working.append(True)
        fail_for_days(workflow, 1)
        assert target(tenant).failing_since is None
        working.clear()
        fail_for_days(workflow, 4)
    assert target(tenant).switched_off_at is None


def test_mail_is_never_switched_off(
    tenant: Tenant, workflow: Workflow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.no_such.EmailBackend"
    make_settings(tenant, "ops@example.com")
    with tenant_scope(tenant):
        Target.objects.create(tenant=tenant, channel="email", address="ops@example.com")
        Target.objects.update(failing_since="2026-01-01T00:00Z")
    fail(workflow, 3)
    settle()
    with tenant_scope(tenant):
        assert Target.objects.get().switched_off_at is None


@pytest.fixture
def off(tenant: Tenant, workflow: Workflow) -> Target:
    """The webhook of the tenant, switched off; nobody else is named."""
    make_settings(tenant, webhook_url="http://127.0.0.1:9/hook", webhook_secret=SECRET)
    with tenant_scope(tenant):
        return Target.objects.create(
            tenant=tenant,
            channel="webhook",
            address="http://127.0.0.1:9/hook",
            failing_since=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            switched_off_at=dt.datetime(2026, 1, 6, tzinfo=dt.UTC),
        )


def test_pages_say_so_and_a_button_switches_it_on(
    tenant: Tenant, workflow: Workflow, owner: Client, off: Target
) -> None:
    fail(workflow, 3)
    settle()
    viewer = signed_in_as(make_member(tenant))
    for client, button in ((owner, True), (viewer, False)):
        text = client.get("/t/alerts/alerts/").content.decode()
        assert "Webhook http://127.0.0.1:9/… is switched off since" in text
        assert ("Switch on again" in text) is button
    assert "Switch on again" in owner.get(SETTINGS).content.decode()
    assert viewer.post(f"{SETTINGS}switch-on/").status_code == 403
    with receiver(answering(200)) as running:
        with tenant_scope(tenant):
            Target.objects.update(address=running.url)
            AlertSettings.objects.update(webhook_url=running.url)
        assert owner.post(f"{SETTINGS}switch-on/").status_code == 302
        pass_time(seconds=5)
        settle()
        assert len(running.calls) == 1, "what nobody was told is told now"
    assert "is switched off" not in owner.get(SETTINGS).content.decode()
    with tenant_scope(tenant):
        assert AuditEvent.objects.filter(action="alerts.switch_on").exists()


def test_the_api_says_so_and_switches_it_on(api: Api, off: Target) -> None:
    assert off.switched_off_at is not None
    assert api.get("/api/alerts/settings")["webhook_switched_off_at"] == "2026-01-06T00:00:00Z"
    changed = api.post("/api/alerts/settings", {"switchWebhookOn": True}).json()
    assert changed["webhook_switched_off_at"] is None
    assert target(off.tenant).failing_since is None


def test_what_is_sent_again_by_hand_is_tried_once(
    tenant: Tenant, workflow: Workflow, off: Target
) -> None:
    with tenant_scope(tenant), transaction.atomic():
        message = Notification.objects.create(
            tenant=tenant,
            target=off,
            kind="opened",
            state="failed",
            content={},
            created_at=dt.datetime(2026, 1, 6, tzinfo=dt.UTC),
        )
        assert actions.redeliver(message.pk) is not None
    work()
    [again] = told(tenant)
    assert (again.state, again.attempts.count()) == ("failed", 1)
    relay()
    assert mail.outbox == [], "owners know already"


def test_days_without_a_message_are_no_failures(tenant: Tenant, workflow: Workflow) -> None:
    with receiver(answering(410)) as running:
        webhook_to(running, tenant)
        for _ in range(FEWEST_TRIES - 1):
            fail(make_workflow(workflow.environment), 3)
            settle()
            assert target(tenant).switched_off_at is None
            pass_time(days=6)
        fail(make_workflow(workflow.environment), 3)
        settle()
    assert target(tenant).switched_off_at is not None


def test_whatever_a_receiver_says_it_is_switched_off(tenant: Tenant, workflow: Workflow) -> None:
    said = b"a\x00b\n\nAcknowledge: http://evil.test/\xe2\x80\xae" + b"x" * 10_000
    make_member(tenant, Role.OWNER)
    with receiver(answering(410, body=said)) as running:
        webhook_to(running, tenant)
        for _ in range(FEWEST_TRIES):
            fail(make_workflow(workflow.environment), 3)
            settle()
            pass_time(days=1)
    assert target(tenant).switched_off_at is not None
    relay()
    work()
    [told_owner] = mail.outbox
    assert "At last: The receiver answered 410. a\ufffdb\ufffd\ufffdAcknowledge" in told_owner.body
