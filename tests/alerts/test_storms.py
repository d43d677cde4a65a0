"""Storms: whatever fails at once or for hours is a few messages, and none leaves an incident out."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from alerts import limits
from alerts.channels.webhook.channel import new_secret
from alerts.models import Attempt, Incident
from config.pace import Pace
from monitoring.models import Workflow
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import make_settings, pass_time, relay, work
from tests.alerts.receivers import Receiver, answering, receiver
from tests.alerts.test_delivery import told, until_next_target
from tests.faults.carrier import KILLS
from tests.monitoring.counted import message, record
from tests.monitoring.factories import make_environment
from tests.tenants.factories import make_member, signed_in_as

pytestmark = pytest.mark.django_db
HOUR = 3_600.0
in_make_faults = pytest.mark.skipif(KILLS == 1, reason="takes long: make faults")
# `make faults` runs it whole; a sample of it shows the same in the suite.
FAILING = 60 if KILLS == 1 else 500
OPS = "ops@example.com"
_INCIDENT = re.compile(r"/t/alerts/alerts/(\d+)/")
_LIST = re.compile(r"/t/alerts/alerts/\?summary=\d+")
_SUMMED_UP = re.compile(r"([\d,]+) alerts: ")


@pytest.fixture(autouse=True)
def _local_and_at_the_pace_of_life(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"),)
    settings.PACE = Pace(1)


@pytest.fixture
def member(tenant: Tenant) -> Client:
    return signed_in_as(make_member(tenant))


def make_workflows(tenant: Tenant, number: int) -> list[Workflow]:
    environment = make_environment(tenant)
    with tenant_scope(tenant):
        return Workflow.objects.bulk_create(
            Workflow(tenant=tenant, environment=environment, external_id=f"s-{n}", name=f"Flow {n}")
            for n in range(number)
        )


def fail_all(workflows: list[Workflow], times: int) -> None:
    """All fail, in turns."""
    now = timezone.now()
    failures = [
        message(workflow, now, Status.FAILED, error_message="HTTP 500")
        for _ in range(times)
        for workflow in workflows
    ]
    for start in range(0, len(failures), 1_000):
        record(*failures[start : start + 1_000])


def play(seconds: float) -> None:
    """Do what is due while time passes, at most so long."""
    passed = 0.0
    while True:
        work()
        wait = until_next_target()
        if wait is None or passed + wait >= seconds:
            pass_time(seconds=seconds - passed)
            return
        pass_time(seconds=wait)
        passed += wait


def heard_at(tenant: Tenant, heard: int, **conditions: Any) -> list[float]:
    """When a target got each of the messages that it heard."""
    with tenant_scope(tenant):
        tries = Attempt.objects.filter(reached=True, **conditions).order_by("at")
        times = [at.timestamp() for at in tries.values_list("at", flat=True)]
    assert len(times) == heard
    return times


def most_within(seconds: float, times: list[float]) -> int:
    """The most of them within any such span."""
    return max(sum(at <= other < at + seconds for other in times) for at in times)


# --- all at once ----------------------------------------------------------------------------------


def complaints(tenant: Tenant, member: Client, failures: int) -> set[str]:
    """What must not be an hour after a storm in which each workflow failed so often, in words."""
    work()
    is_told_at_once = bool(mail.outbox)
    play(HOUR)
    mails = [each for each in mail.outbox if each.to == [OPS]]
    return {
        *(() if is_told_at_once else ("nobody is told at once",)),
        *_of_incidents(tenant, failures),
        *_of_times(heard_at(tenant, len(mails), target__address=OPS)),
        *_of_words(tenant, member, mails),
    }


def _of_incidents(tenant: Tenant, failures: int) -> Iterator[str]:
    with tenant_scope(tenant):
        counts = Counter(Incident.objects.values_list("count", flat=True))
        workflows = Workflow.objects.count()
    if counts.total() != workflows:
        yield "not one incident for each"
    if set(counts) != {failures}:
        yield "a wrong count"


def _of_times(sent_at: list[float]) -> Iterator[str]:
    if most_within(300, sent_at) > 10:
        yield "more than 10 within 5 minutes"
    if most_within(HOUR, sent_at) > 30:
        yield "more than 30 within an hour"


def _of_words(tenant: Tenant, member: Client, mails: list[EmailMessage]) -> Iterator[str]:
    """Read as people do: each mail, and the whole list that it links."""
    named: set[int] = set()
    for each in mails:
        text = str(each.body)
        named |= {int(pk) for pk in _INCIDENT.findall(text)}
        summed_up, linked = _SUMMED_UP.search(str(each.subject)), _LIST.search(text)
        if summed_up and linked:
            listed = list(_whole_list(linked[0], member))
            named |= set(listed)
            if int(summed_up[1].replace(",", "")) != len(listed):
                yield "a summary counts others than it links"
    with tenant_scope(tenant):
        incidents = set(Incident.objects.values_list("pk", flat=True))
    if named != incidents:
        yield "an incident is named nowhere"


def _whole_list(path: str, member: Client) -> Iterator[int]:
    number = 1
    while True:
        page = member.get(f"{path}&page={number}").content.decode()
        yield from sorted({int(pk) for pk in _INCIDENT.findall(page)})
        if 'rel="next"' not in page:
            return
        number += 1


def test_a_storm_is_one_incident_for_each_workflow_and_a_few_mails(
    tenant: Tenant, member: Client
) -> None:
    make_settings(tenant, OPS, "boss@example.com")
    fail_all(make_workflows(tenant, FAILING), 20)
    relay()
    assert complaints(tenant, member, 20) == set()
    singles = told(tenant, kind="opened", summary=None, target__address=OPS)
    in_summaries = told(tenant, kind="opened", summary__isnull=False, target__address=OPS)
    assert len(singles) + len(in_summaries) == FAILING, "each incident is told in one way"
    assert {each.state for each in (*singles, *in_summaries)} == {"sent"}
    summaries = told(tenant, kind="summary", target__address=OPS)
    assert len([each for each in mail.outbox if each.to == [OPS]]) == len(singles) + len(summaries)


# --- faults that the test above would see -----------------------------------------------------------


def every_one_at_once(reached: list[dt.datetime], new: int, now: dt.datetime) -> limits.Plan:
    """No grouping, no limits."""
    return limits.Plan(limits.Act.SEND if new else limits.Act.NOTHING)


def every_one_in_its_time(
    plan: Any, reached: list[dt.datetime], new: int, now: dt.datetime
) -> limits.Plan:
    """Limits, but no grouping."""
    found: limits.Plan = plan(reached, new, now)
    return limits.Plan(limits.Act.SEND) if found.act is limits.Act.SUM_UP else found


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (every_one_at_once, {"more than 10 within 5 minutes", "more than 30 within an hour"}),
        (partial(every_one_in_its_time, limits.plan), {"an incident is named nowhere"}),
    ],
    ids=["neither grouping nor limits", "limits without grouping"],
)
def test_a_storm_without_grouping_would_be_seen(
    tenant: Tenant, member: Client, fault: Any, seen: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "plan", fault)
    make_settings(tenant, OPS)
    fail_all(make_workflows(tenant, 60), 3)
    relay()
    assert complaints(tenant, member, 3) == seen


# --- for hours ------------------------------------------------------------------------------------


def test_an_address_gets_30_messages_in_any_hour_whatever_goes_on_failing(tenant: Tenant) -> None:
    times = fail_on_and_on(tenant)
    assert most_within(300, times) <= 10
    assert most_within(HOUR, times) <= 30
    assert len(times) > 30, "it goes on"


@in_make_faults
def test_an_hour_without_its_limit_would_be_seen(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "allowed_at", partial(limits.allowed_at, bounds=((300.0, 10),)))
    monkeypatch.setattr(limits, "_LONG_PAUSE_SECONDS", 60.0)
    assert most_within(HOUR, fail_on_and_on(tenant)) > 30


def fail_on_and_on(tenant: Tenant) -> list[float]:
    """One workflow more fails each minute, for 70; when their receiver got messages, tries included."""
    with receiver(every_other_call_fails) as running:
        make_settings(
            tenant, failure_threshold=1, webhook_url=running.url, webhook_secret=new_secret()
        )
        for workflow in make_workflows(tenant, 70):
            fail_all([workflow], 1)
            relay()
            play(60)
    return heard_at(tenant, len(running.calls))


def every_other_call_fails(connected: socket.socket, running: Receiver) -> None:
    """Answers 500 to every other call."""
    answering(500 if len(running.calls) % 2 else 200)(connected, running)
