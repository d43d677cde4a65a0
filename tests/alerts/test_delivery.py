"""Messages on their way to real receivers: faults, retries, storms, redelivery."""

from __future__ import annotations

import datetime as dt
import ipaddress
import threading
import time
from typing import Any

import pytest
from django.core import mail
from django.db import connection
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks import Webhook as Verifier

from alerts import actions, delivery, preferences
from alerts.channels.registry import channels, kind_of_channel
from alerts.channels.webhook.channel import new_secret
from alerts.message import read as stored_message
from alerts.models import AlertSettings, Attempt, Check, Incident, Notification, Target
from config.pace import Pace
from monitoring.models import Workflow
from scheduling import due
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.alerts.factories import fail, make_settings, pass_time, relay, settle, work
from tests.alerts.receivers import (
    Receiver,
    Serve,
    answering,
    closing,
    dripping,
    hanging,
    post_office,
    receiver,
)
from tests.alerts.test_channels import use_mail_server
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db
SECRET = new_secret()


@pytest.fixture(autouse=True)
def _quick_and_local(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.PACE = Pace(0.02)  # a webhook's deadline is 0.4 s


def told(tenant: Tenant, **conditions: Any) -> list[Notification]:
    with tenant_scope(tenant):
        found = Notification.objects.filter(**conditions).order_by("id")
        return list(found.select_related("target").prefetch_related("attempts"))


def webhook_to(running: Receiver, tenant: Tenant, *emails: str) -> None:
    make_settings(tenant, *emails, webhook_url=running.url, webhook_secret=SECRET)


def work_for_days(days: float) -> None:
    """Do what is due, and let time pass until nothing is or the days are over."""
    end = timezone.now() + dt.timedelta(days=days)
    passed = dt.timedelta()
    while timezone.now() + passed < end:
        work()
        if (wait := until_next_target()) is None:
            return
        pass_time(seconds=wait)
        passed += dt.timedelta(seconds=wait)


def until_next_target() -> float | None:
    """Seconds until a target is due."""
    with across_tenants():
        times = Target.objects.exclude(due_at=None).order_by("due_at")
        due_at = times.values_list("due_at", flat=True).first()
    return None if due_at is None else max((due_at - timezone.now()).total_seconds(), 0) + 0.001


# --- receivers of webhooks ------------------------------------------------------------------------


def test_a_failure_is_told_to_the_webhook_with_a_signature_that_verifies(
    tenant: Tenant, workflow: Workflow
) -> None:
    with receiver(answering(200)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
    [call] = running.calls
    event = Verifier(SECRET).verify(call.body, call.headers)
    assert event["data"]["incident"]["workflow_name"] == "Invoice sync"
    [notification] = told(tenant)
    assert (notification.state, str(notification.key)) == ("sent", call.id)
    [attempt] = notification.attempts.all()
    assert (attempt.status, attempt.said, attempt.is_delivered) == (200, "said", True)


@pytest.mark.parametrize(
    "serve",
    [
        answering(500, first=2),
        answering(429, "Retry-After: 1", first=2),
        answering(301, "Location: /elsewhere", first=2),
    ],
    ids=["500", "429", "301"],
)
def test_a_receiver_that_mends_itself_gets_it_with_the_same_id(
    tenant: Tenant, workflow: Workflow, serve: Serve
) -> None:
    with receiver(serve) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
        work_for_days(1)
    assert len(running.calls) == 3
    assert len({call.id for call in running.calls}) == 1
    timestamps = [int(call.headers["webhook-timestamp"]) for call in running.calls]
    assert timestamps == sorted(timestamps)
    [notification] = told(tenant)
    assert (notification.state, notification.tries) == ("sent", 3)
    with tenant_scope(tenant):
        assert Incident.objects.count() == 1


@pytest.mark.parametrize(
    ("serve", "tries"),
    [(answering(500), 8), (hanging, 8), (dripping, 8), (closing, 8), (answering(410), 1)],
    ids=["500", "hanging", "dripping", "closing", "410"],
)
def test_nothing_is_pending_for_ever(
    tenant: Tenant, workflow: Workflow, serve: Serve, tries: int, settings: Settings
) -> None:
    settings.PACE = Pace(0.005)
    with receiver(serve) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
        work_for_days(2)
    [notification] = told(tenant)
    assert (notification.state, notification.tries) == ("failed", tries)
    assert notification.reason
    assert len({call.id for call in running.calls}) == 1
    with tenant_scope(tenant):
        assert Target.objects.get().due_at is None


def test_the_pauses_follow_the_schedule_and_what_the_receiver_asks(
    tenant: Tenant, workflow: Workflow, settings: Settings
) -> None:
    settings.PACE = Pace(1)
    with receiver(answering(429, "Retry-After: 400")) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
    [notification] = told(tenant)
    assert notification.next_try_at is not None
    pause = (notification.next_try_at - timezone.now()).total_seconds()
    assert 390 < pause <= 400, "longer than the schedule's 5 s"
    settings.PACE = Pace(0.5)
    channel = channels()["webhook"].for_address(
        "http://x/", AlertSettings(), notification.created_at
    )
    pauses = [delivery.pause_after(channel, number) for number in range(1, 9)]
    assert pauses[-1] is None
    for said, pause_said in zip(channel.pauses, pauses[:-1], strict=True):
        assert pause_said is not None
        assert said * 0.8 <= pause_said <= said * 1.2


def test_a_healthy_channel_is_not_repeated_when_another_fails(
    tenant: Tenant, workflow: Workflow
) -> None:
    with receiver(answering(500)) as running:
        webhook_to(running, tenant, "ops@example.com")
        fail(workflow, 3)
        settle()
        work_for_days(2)
    assert len(running.calls) == 8
    assert len(mail.outbox) == 1


def test_addresses_that_are_taken_out_get_nothing_more(
    tenant: Tenant, workflow: Workflow, settings: Settings
) -> None:
    settings.PACE = Pace(1)  # nothing is tried again before they are taken out
    with receiver(answering(500)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
        with tenant_scope(tenant), preferences.changing(tenant) as stored:
            stored.webhook_url = ""
            preferences.save_settings(stored)
        work_for_days(1)
    assert len(running.calls) == 1
    [notification] = told(tenant)
    assert (notification.state, notification.reason) == ("suppressed", preferences.REMOVED)


def test_an_address_that_is_taken_out_while_it_is_sent_to_gets_nothing_more(
    tenant: Tenant, workflow: Workflow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PACE = Pace(1)
    send = delivery.try_to_send

    def send_and_take_out(*args: Any) -> delivery.Outcome:
        with preferences.changing(tenant) as stored:
            stored.webhook_url = ""
            preferences.save_settings(stored)
        return send(*args)

    monkeypatch.setattr(delivery, "try_to_send", send_and_take_out)
    with receiver(answering(500)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
        work_for_days(1)
    assert len(running.calls) == 1
    [notification] = told(tenant)
    assert (notification.state, notification.reason) == ("suppressed", preferences.REMOVED)
    assert notification.attempts.count() == 1


def test_a_message_is_sent_again_on_request_with_the_same_id(
    tenant: Tenant, workflow: Workflow
) -> None:
    with receiver(answering(410, first=1)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
        [notification] = told(tenant)
        assert notification.state == "failed"
        with tenant_scope(tenant):
            assert actions.redeliver(notification.pk) is not None
            assert actions.redeliver(notification.pk) is None, "it waits already"
        work()
    assert len({call.id for call in running.calls}) == 1
    [notification] = told(tenant)
    assert notification.state == "sent"


def test_a_target_whose_delivery_breaks_is_given_up_and_gets_another_chance(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    relay()
    work("alert check")
    real = delivery.try_to_send
    monkeypatch.setattr(delivery, "try_to_send", lambda *_: 1 / 0)
    for _ in range(5):
        drain_in_line("email")
        pass_time(hours=1)
    [notification] = told(tenant)
    assert notification.state == "failed"
    assert "given up" in notification.reason
    monkeypatch.setattr(delivery, "try_to_send", real)
    fail(workflow)
    pass_time(hours=2)
    settle()
    assert len(mail.outbox) == 1


def drain_in_line(slug: str) -> None:
    """What the drain does, on this connection."""
    [kind] = [each for each in due.kinds() if each.name == kind_of_channel(slug)]
    for held in due.claim(kind):
        due._do(held)


# --- mail servers ---------------------------------------------------------------------------------


def test_a_refused_recipient_does_not_repeat_or_hold_the_others(
    tenant: Tenant, workflow: Workflow, settings: Settings
) -> None:
    with post_office(refused={"gone@example.com": "550 no such user"}) as (post, port):
        use_mail_server(settings, port)
        make_settings(tenant, "a@example.com", "gone@example.com", "b@example.com")
        fail(workflow, 3)
        settle()
        work_for_days(2)
    assert sorted(to for to, _ in post.mails) == ["a@example.com", "b@example.com"]
    states = {each.target.address: (each.state, each.tries) for each in told(tenant) if each.target}
    assert states == {
        "a@example.com": ("sent", 1),
        "b@example.com": ("sent", 1),
        "gone@example.com": ("failed", 1),
    }


def test_a_cut_after_the_dot_repeats_the_mail_with_the_same_id(
    tenant: Tenant, workflow: Workflow, settings: Settings
) -> None:
    with post_office(cuts_after_dot=1) as (post, port):
        use_mail_server(settings, port)
        make_settings(tenant, "a@example.com")
        fail(workflow, 3)
        settle()
        work_for_days(1)
    ids = [
        line for _, content in post.mails for line in content.split("\r\n") if "Message-ID" in line
    ]
    assert len(post.mails) == 2
    assert len(set(ids)) == 1


def test_mail_arrives_after_the_server_was_away_for_hours(
    tenant: Tenant, workflow: Workflow, settings: Settings
) -> None:
    with post_office() as (_, port):
        pass
    use_mail_server(settings, port)
    make_settings(tenant, "a@example.com")
    fail(workflow, 3)
    settle()
    settings.PACE = Pace(1)
    work_for_days(0.25)
    [waiting] = told(tenant)
    assert waiting.state == "pending"
    assert waiting.next_try_at is not None
    assert waiting.next_try_at - timezone.now() < dt.timedelta(minutes=5)
    with post_office() as (post, port):
        use_mail_server(settings, port)
        pass_time(minutes=5)
        work()
    assert len(post.mails) == 1


# --- hanging receivers and others' messages -------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_hanging_receivers_hold_nobody_elses_messages(settings: Settings) -> None:
    settings.PACE = Pace(0.1)  # hanging takes 2 s
    with receiver(hanging) as stuck, receiver(answering(200)) as healthy:
        for number in range(4):
            make_told(f"stuck-{number}", stuck)
        for number in range(12):
            make_told(f"healthy-{number}", healthy)
        relay()
        work("alert check")
        began = time.monotonic()
        told = threading.Event()
        worker = threading.Thread(target=drain_until, args=[told])
        worker.start()
        healthy.wait_for(12)
        assert time.monotonic() - began < 1.5
        told.set()
        worker.join()
    assert stuck.connections == 4


@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_receiver_holds_no_connection(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[object] = []
    send = delivery.try_to_send

    def look(*arguments: Any) -> delivery.Outcome:
        held.append(connection.connection)
        return send(*arguments)

    monkeypatch.setattr(delivery, "try_to_send", look)
    make_settings(tenant, "a@example.com")
    fail(workflow, 3)
    settle()
    assert held == [None]
    assert len(mail.outbox) == 1


def make_told(slug: str, running: Receiver) -> None:
    tenant = make_tenant(slug)
    webhook_to(running, tenant)
    fail(make_workflow(make_environment(tenant)), 3)


def drain_until(told: threading.Event) -> None:
    """What wake-ups make of a worker."""
    try:
        while not told.is_set():
            due.drain(kind_of_channel("webhook"), seconds=2)
        assert due.wait_for_threads(10)
    finally:
        connection.close()


def test_attempts_that_reached_the_target_count_against_its_limit(
    tenant: Tenant, workflow: Workflow
) -> None:
    with receiver(answering(500)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        settle()
    with tenant_scope(tenant):
        assert Attempt.objects.get().reached


# --- deaths and zombies ---------------------------------------------------------------------------


def the_target_claim() -> due.Claim[Target]:
    [kind] = [each for each in due.kinds() if each.name == kind_of_channel("webhook")]
    [held] = due.claim(kind)
    return held


def lease_ends() -> None:
    with across_tenants():
        Target.objects.update(leased_until=timezone.now() - dt.timedelta(seconds=1))


def test_who_dies_between_sending_and_storing_leaves_it_to_be_sent_with_the_same_id(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver(answering(200)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        relay()
        work("alert check")
        dying = the_target_claim()
        monkeypatch.setattr(delivery, "store", lambda *_, **__: 1 / 0)
        with tenant_scope(tenant), pytest.raises(ZeroDivisionError):
            delivery.deliver_next(dying)
        monkeypatch.undo()
        lease_ends()
        work()
    assert len(running.calls) == 2
    assert len({call.id for call in running.calls}) == 1
    [notification] = told(tenant)
    assert (notification.state, notification.tries) == ("sent", 1)


def test_a_zombie_that_wakes_up_after_its_lease_stores_nothing(
    tenant: Tenant, workflow: Workflow
) -> None:
    with receiver(answering(200)) as running:
        webhook_to(running, tenant)
        fail(workflow, 3)
        relay()
        work("alert check")
        zombie = the_target_claim()
        lease_ends()
        work()
        with tenant_scope(tenant), pytest.raises(due.LeaseLostError):
            delivery.deliver_next(zombie)
    assert len(running.calls) == 1, "what it would have sent was sent by another"
    with tenant_scope(tenant):
        assert Attempt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_checks_of_one_workflow_at_once_open_one_incident(settings: Settings) -> None:
    tenant = make_tenant("racing")
    workflow = make_workflow(make_environment(tenant))
    make_settings(tenant, "ops@example.com")
    fail(workflow, 3)
    relay()
    [kind] = [each for each in due.kinds() if each.name == "alert check"]
    claims = []
    for _ in range(6):
        claims += due.claim(kind)
        with across_tenants():
            Check.objects.update(leased_until=timezone.now() - dt.timedelta(seconds=1))

    def look(held: due.Claim[Any]) -> None:
        try:
            due._do(held)
        finally:
            connection.close()

    threads = [threading.Thread(target=look, args=[held]) for held in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    with tenant_scope(tenant):
        assert Incident.objects.count() == 1
        assert Notification.objects.count() == 1
    assert len(mail.outbox) == 1


def test_a_message_that_can_not_be_made_holds_back_no_other(
    tenant: Tenant, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[bool] = []

    def read(content: Any) -> Any:
        if not broken:
            broken.append(True)
            raise ValueError("an older version wrote this")
        return stored_message(content)

    monkeypatch.setattr(delivery, "read", read)
    with receiver(answering(200)) as running:
        make_settings(tenant, webhook_url=running.url, webhook_secret=SECRET)
        other = make_workflow(workflow.environment)
        fail(workflow, 3)
        fail(other, 3)
        settle()
        assert len(running.calls) == 1
    assert sorted(each.state for each in told(tenant)) == ["failed", "sent"]
