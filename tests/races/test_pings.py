"""Pings and heartbeats from many senders at once, at two web processes."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import pytest
from django.db import connections
from django.utils import timezone

from monitoring.models import Execution, SignOfLife
from monitoring.words import Status
from monitoring.worker import mark_lost
from tenants.scoping import tenant_scope
from tests.config.servers import WebServer
from tests.races.conftest import Stored
from tests.races.senders import Connection, Crowd

pytestmark = pytest.mark.django_db(transaction=True)

SENDERS = 16
JOB = "/api/heartbeats/backup"


def statuses(stored: Stored) -> Counter[Status]:
    with tenant_scope(stored.tenant):
        return Counter(map(Status, Execution.objects.values_list("status", flat=True)))


def test_ends_at_once_share_the_open_runs(server: WebServer, stored: Stored) -> None:
    crowd = Crowd(server.port, stored.token, SENDERS)
    starts, ends = crowd.all_send(
        [lambda c: c.call("POST", f"{JOB}/start"), lambda c: c.call("POST", JOB)]
    )
    assert {told.status for told in starts + ends} == {200}
    opened = {told.body["id"] for told in starts}
    assert len(opened) == SENDERS
    # A sender ends some run as soon as it has begun its own; in the end each run had one end.
    assert {told.body["id"] for told in ends} == opened
    assert statuses(stored) == {Status.SUCCESS: SENDERS}
    assert stored.differences() == []


def test_each_named_run_is_one_execution(server: WebServer, stored: Stored) -> None:
    def speak(number: int, connection: Connection) -> None:
        for run in range(6):
            for end in (("/start", ""), ("", "/start"))[number % 2]:
                assert connection.call("POST", f"{JOB}{end}?rid=run-{run}").status == 200

    Crowd(server.port, stored.token, SENDERS).each_does(speak)
    assert statuses(stored) == {Status.SUCCESS: 6}
    assert set(stored.sender_ids().values()) == {1}
    assert stored.differences() == []


def test_one_that_many_say_lives_is_never_marked_when_all_have_spoken(
    server: WebServer, stored: Stored
) -> None:
    message = {
        "id": "long", "workflowId": "w", "status": "running", "heartbeatSeconds": 5,
        "startedAt": timezone.now().isoformat(),
    }  # fmt: skip
    Connection(server.port, stored.token).call("POST", "/api/executions", message)

    def speak(number: int, connection: Connection) -> None:
        for _ in range(20):
            if number == 0:
                with tenant_scope(stored.tenant):
                    past = timezone.now() - dt.timedelta(minutes=1)
                    SignOfLife.objects.update(heard_at=past, due_at=past)
                mark_lost()
            elif number % 2:
                assert connection.call("POST", "/api/executions/long/heartbeat").status == 200
            else:
                assert connection.call("POST", "/api/executions", message).status == 200
        connections.close_all()

    Crowd(server.port, stored.token, SENDERS).each_does(speak)
    Connection(server.port, stored.token).call("POST", "/api/executions/long/heartbeat")
    mark_lost()
    with tenant_scope(stored.tenant):
        assert Execution.objects.get().lost_contact_at is None
    assert stored.differences() == []
