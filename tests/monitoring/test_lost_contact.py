"""Lost contact: who promised heartbeats and fell silent is marked, and any sign takes the mark away."""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from monitoring.deletion import delete_executions, delete_tenant_step
from monitoring.models import Execution, SignOfLife
from monitoring.recording import contact
from monitoring.recording.environments import source_for
from monitoring.recording.schema import decode, full_execution
from monitoring.recording.store import record_executions
from monitoring.words import Status
from monitoring.worker import mark_lost
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.factories import make_tenant

pytestmark = [pytest.mark.django_db, pytest.mark.store]

STARTED = (timezone.now() - dt.timedelta(minutes=10)).isoformat()


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("acme")


def send(tenant: Tenant, status: str = "running", **fields: Any) -> uuid.UUID:
    message = {"id": "run-1", "workflowId": "w", "status": status, "startedAt": STARTED} | fields
    body = json.dumps(message).encode()
    [result] = record_executions([full_execution(decode(body), body, source_for(tenant.pk))])
    assert result.id is not None, result
    return result.id


def pass_time(seconds: float) -> None:
    """As if every sign of life had been so much earlier."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_signoflife SET heard_at = heard_at - %s * interval '1 second',"
            " due_at = due_at - %s * interval '1 second'",
            [seconds, seconds],
        )


def lost_at(tenant: Tenant, execution_id: uuid.UUID) -> dt.datetime | None:
    with tenant_scope(tenant):
        return Execution.objects.get(id=execution_id).lost_contact_at


def signs() -> int:
    with across_tenants():
        return SignOfLife.objects.count()


def test_it_is_marked_after_three_times_the_promised_time(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=10)
    pass_time(29)
    mark_lost()
    assert lost_at(tenant, one) is None
    pass_time(1)
    assert mark_lost() is False
    found = lost_at(tenant, one)
    assert found is not None
    silent = timezone.now() - found
    assert dt.timedelta(seconds=30) <= silent < dt.timedelta(seconds=40), "it was heard of last"
    with tenant_scope(tenant):
        assert Execution.objects.get(id=one).state is Status.RUNNING


def test_who_never_promised_anything_is_never_marked(tenant: Tenant) -> None:
    one = send(tenant)
    contact.note_heartbeat(tenant.pk, one)
    assert signs() == 0
    mark_lost()
    assert lost_at(tenant, one) is None


@pytest.mark.parametrize("status", ["pending", "waiting", "success", "failed", "canceled"])
def test_only_what_runs_is_followed(tenant: Tenant, status: str) -> None:
    send(tenant, heartbeatSeconds=5)
    assert signs() == 1
    one = send(tenant, status, heartbeatSeconds=5, updatedAt=timezone.now().isoformat())
    assert signs() == 0
    mark_lost()
    assert lost_at(tenant, one) is None


def test_heartbeats_put_the_mark_off_for_ever(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=10)
    for _ in range(10):
        pass_time(29)
        contact.note_heartbeat(tenant.pk, one)
        mark_lost()
    assert lost_at(tenant, one) is None


def test_the_same_message_again_is_a_sign_of_life(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=10)
    pass_time(29)
    assert send(tenant, heartbeatSeconds=10) == one
    pass_time(29)
    mark_lost()
    assert lost_at(tenant, one) is None


def _heartbeat(tenant: Tenant, one: uuid.UUID) -> None:
    contact.note_heartbeat(tenant.pk, one)


def _same_message(tenant: Tenant, one: uuid.UUID) -> None:
    send(tenant, heartbeatSeconds=10)


def _more_nodes(tenant: Tenant, one: uuid.UUID) -> None:
    send(tenant, nodeExecutions=[{"nodeId": "n", "status": "success"}])


def _end(tenant: Tenant, one: uuid.UUID) -> None:
    send(tenant, "success", completedAt=timezone.now().isoformat())


@pytest.mark.parametrize("sign", [_heartbeat, _same_message, _more_nodes, _end])
def test_any_later_sign_takes_the_mark_away(
    tenant: Tenant, sign: Callable[[Tenant, uuid.UUID], None]
) -> None:
    one = send(tenant, heartbeatSeconds=10)
    pass_time(60)
    mark_lost()
    assert lost_at(tenant, one) is not None
    sign(tenant, one)
    assert lost_at(tenant, one) is None
    mark_lost()
    assert lost_at(tenant, one) is None


def test_one_that_came_back_is_marked_again_when_it_falls_silent_again(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=10)
    for _ in range(2):
        pass_time(31)
        mark_lost()
        assert lost_at(tenant, one) is not None
        contact.note_heartbeat(tenant.pk, one)
        assert lost_at(tenant, one) is None


def test_a_late_message_of_before_the_end_brings_nothing_back(tenant: Tenant) -> None:
    send(tenant, "success", heartbeatSeconds=10, completedAt=timezone.now().isoformat())
    send(tenant, heartbeatSeconds=10)
    assert signs() == 0


def test_a_shorter_promise_counts_from_its_message_on(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=3_600)
    send(tenant, heartbeatSeconds=5, updatedAt=timezone.now().isoformat())
    pass_time(16)
    mark_lost()
    assert lost_at(tenant, one) is not None


def test_a_worker_that_was_away_believes_the_heartbeats_that_came_meanwhile(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=5)
    pass_time(3_600)
    contact.note_heartbeat(tenant.pk, one)
    mark_lost()
    assert lost_at(tenant, one) is None
    pass_time(20)
    mark_lost()
    assert lost_at(tenant, one) is not None


def test_a_mark_rests_and_is_not_looked_at_again(tenant: Tenant) -> None:
    send(tenant, heartbeatSeconds=5)
    pass_time(60)
    mark_lost()
    with across_tenants():
        assert list(SignOfLife.objects.values_list("due_at", flat=True)) == [None]


def test_what_was_deleted_is_followed_no_longer(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=5)
    delete_executions(tenant.pk, [one])
    assert signs() == 0


def test_what_vanished_with_its_partition_is_followed_no_longer(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=5)
    with tenant_scope(tenant):
        Execution.objects.filter(id=one).delete()
    pass_time(60)
    mark_lost()
    assert signs() == 0


def test_signs_go_with_their_tenant(tenant: Tenant) -> None:
    send(tenant, heartbeatSeconds=5)
    while delete_tenant_step(tenant):
        pass
    assert signs() == 0


def test_another_tenants_heartbeat_is_nothing(tenant: Tenant) -> None:
    one = send(tenant, heartbeatSeconds=5)
    rival = make_tenant("rival")
    pass_time(16)
    contact.note_heartbeat(rival.pk, one)
    mark_lost()
    assert lost_at(tenant, one) is not None


def test_many_are_marked_in_steps(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "STEP", 2)
    ids = [send(tenant, id=f"run-{n}", heartbeatSeconds=5) for n in range(5)]
    pass_time(60)
    steps = 1
    while mark_lost():
        steps += 1
    assert steps == 3
    assert all(lost_at(tenant, one) for one in ids)


def test_a_look_reads_what_is_due_by_an_index(tenant: Tenant) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT 1 FROM monitoring_signoflife WHERE due_at <= now() ORDER BY due_at LIMIT 9"
        )
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert "monitoring_signoflife_by_due" in plan
    assert "Sort" not in plan


# --- at the same time -----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_heartbeats_messages_and_looks_at_once_neither_wait_in_a_circle_nor_mark_the_living() -> (
    None
):
    tenant = make_tenant("acme")
    ids = [send(tenant, id=f"run-{n}", heartbeatSeconds=5) for n in range(8)]
    stop = threading.Event()
    errors: list[BaseException] = []

    def again_and_again(work: Callable[[], None]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    def beat() -> None:
        for one in ids[:4]:
            contact.note_heartbeat(tenant.pk, one)

    def message() -> None:
        for n in range(8):
            if n not in range(4):
                send(tenant, id=f"run-{n}", heartbeatSeconds=5)

    def age() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "UPDATE monitoring_signoflife SET due_at = clock_timestamp() WHERE due_at IS NOT NULL"
                " AND ctid = ANY(ARRAY(SELECT ctid FROM monitoring_signoflife FOR UPDATE SKIP LOCKED))"
            )

    works = [beat, beat, message, age, lambda: mark_lost() and None]
    threads = [threading.Thread(target=again_and_again, args=[work]) for work in works]
    for thread in threads:
        thread.start()
    stop.wait(3)
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors
    assert [lost_at(tenant, one) for one in ids] == [None] * 8


@pytest.mark.django_db(transaction=True)
def test_a_heartbeat_during_the_look_takes_the_mark_away() -> None:
    """It waits for the look, and is not lost in it."""
    tenant = make_tenant("acme")
    one = send(tenant, heartbeatSeconds=5)
    pass_time(60)

    def beat() -> None:
        contact.note_heartbeat(tenant.pk, one)
        connection.close()

    thread = threading.Thread(target=beat)
    with transaction.atomic():
        contact.mark_lost_step()
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "the row is locked"
    thread.join()
    assert lost_at(tenant, one) is None
