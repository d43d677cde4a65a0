"""The test message floods nobody and holds no web process: by API and page the same."""

from __future__ import annotations

import ipaddress

import pytest
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from alerts import testing
from alerts.models import AlertSettings, Attempt, Notification, Target
from config.pace import Pace
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import make_settings, pass_time
from tests.alerts.receivers import hanging, receiver
from tests.monitoring.api.conftest import Api
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db
TEST = "/api/alerts/test"


@pytest.fixture(autouse=True)
def _local(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.PACE = Pace(1)


def refusal(api: Api) -> tuple[str, int]:
    answer = api.post(TEST, {})
    assert answer.status_code == 429
    return answer.json()["detail"], int(answer["Retry-After"])


def test_a_receiver_that_hangs_holds_a_test_for_its_own_short_deadline(
    api: Api, tenant: Tenant, settings: Settings
) -> None:
    settings.PACE = Pace(0.2)
    with receiver(hanging) as running:
        make_settings(tenant, webhook_url=running.url, webhook_secret="whsec_eHg=")
        [found] = api.post(TEST, {}).json()["data"]
    assert found["success"] is False
    assert 1_500 < found["duration_ms"] < 3_500, "a message has 4 s at this pace, a test 1.6 s"


def test_an_address_gets_few_tests_an_hour(api: Api, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com")
    for _ in range(testing.MOST_TO_ADDRESS):
        assert api.post(TEST, {}).json()["success"] is True
        pass_time(minutes=6)
    said, wait = refusal(api)
    assert "as many messages as one may get; it may get another in 30 minutes" in said
    assert 29 * 60 < wait <= 30 * 60
    assert len(mail.outbox) == testing.MOST_TO_ADDRESS
    with tenant_scope(tenant):
        AlertSettings.objects.update(emails=["a@example.com", "new@example.com"])
    found = {each["address"]: each for each in api.post(TEST, {}).json()["data"]}
    assert found["new@example.com"]["success"] is True, "others get it"
    assert found["a@example.com"]["success"] is False
    assert found["a@example.com"]["detail"].startswith("Not sent.")
    pass_time(minutes=31)
    assert api.post(TEST, {}).json()["success"] is True


def test_tests_count_among_the_messages_that_an_address_gets(api: Api, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com")
    api.post(TEST, {})
    pass_time(minutes=4)
    with tenant_scope(tenant):
        target, message = Target.objects.get(), Notification.objects.get()
        Attempt.objects.bulk_create(
            Attempt(
                tenant=tenant,
                notification=message,
                target=target,
                at=timezone.now(),
                latency_ms=1,
                is_delivered=True,
                reached=True,
            )
            for _ in range(10)
        )
    refusal(api)
    assert len(mail.outbox) == 1


def test_a_tenant_can_not_mail_ever_new_addresses(api: Api, tenant: Tenant) -> None:
    make_settings(tenant)
    for number in range(5):
        with tenant_scope(tenant):
            AlertSettings.objects.update(
                emails=[f"stranger{number}-{each}@example.com" for each in range(20)]
            )
        api.post(TEST, {})
    assert len(mail.outbox) == testing.MOST_OF_TENANT
    assert "Many tests were sent within the hour" in refusal(api)[0]


def test_a_test_waits_for_no_other_one_of_its_tenant(api: Api, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com")
    with tenant_scope(tenant):
        Notification.objects.create(
            tenant=tenant, kind="test", state="failed", content={}, created_at=timezone.now()
        )
    said, wait = refusal(api)
    assert "on its way already" in said
    assert wait <= 12
    pass_time(seconds=13)
    assert api.post(TEST, {}).status_code == 200, "the one before has died"


def test_a_process_has_few_places_for_tests(api: Api, tenant: Tenant) -> None:
    make_settings(tenant, "a@example.com")
    admin = signed_in_as(make_member(tenant, Role.ADMIN))
    for _ in range(testing.MOST_IN_PROCESS):
        assert testing._places.acquire(blocking=False)
    try:
        assert "Others send tests now" in refusal(api)[0]
        answer = admin.post("/t/alerts/alerts/settings/test/")
        assert (answer.status_code, answer["Retry-After"]) == (429, "5")
        assert "Others send tests now" in answer.content.decode()
    finally:
        testing._places.release(testing.MOST_IN_PROCESS)
    assert mail.outbox == []
    assert api.post(TEST, {}).status_code == 200
    assert "Mail a@example.com" in admin.post("/t/alerts/alerts/settings/test/").content.decode()
