"""Who locks the same rows at once waits, and is not refused: targets have one order everywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from alerts import actions, checks, preferences, telling
from alerts.channels.registry import kind_of_channel
from alerts.models import (
    AlertSettings,
    Check,
    Incident,
    Notification,
    Target,
    WorkflowPreference,
)
from alerts.policy import Policy, policy_for
from alerts.rules.base import Verdict, workflow_rules
from monitoring.database import database_now
from scheduling import due
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.alerts.factories import claim_looks, fail, make_settings, relay, work
from tests.config.trees import wait_for
from tests.monitoring.api.conftest import api_for
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

_WAITING = "SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted"


class Beside:
    """Does something in a thread with a connection and a transaction of its own."""

    def __init__(self, tenant: Tenant, act: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        self._tenant, self._act = tenant, act
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with tenant_scope(self._tenant), transaction.atomic():
                self._act()
        except BaseException as error:  # the test asks for it
            self.error = error
        finally:
            connection.close()

    def end(self, seconds: float = 20) -> None:
        """Wait for it; raises what it raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive()
        if self.error is not None:
            raise self.error


def wait_until_blocked(number: int) -> None:
    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(_WAITING)
            return bool(cursor.fetchone()[0] >= number)

    wait_for(blocked, 10, f"{number} wait")


@contextmanager
def held(target: Target) -> Iterator[None]:
    """Hold a target as a delivery does; at the end all who wait for it go on."""
    locked, over = threading.Event(), threading.Event()

    def hold() -> None:
        Target.objects.select_for_update().get(pk=target.pk)
        locked.set()
        over.wait(20)

    holder = Beside(target.tenant, hold)
    assert locked.wait(10)
    try:
        yield
    finally:
        over.set()
        holder.end()


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("locks")


@pytest.fixture
def policy(tenant: Tenant) -> Policy:
    """One that names three targets, whose ids are in the reverse order of their names."""
    make_settings(tenant, "a@example.com", "m@example.com", "z@example.com")
    with tenant_scope(tenant):
        for name in "zma":
            Target.objects.create(tenant=tenant, channel="email", address=f"{name}@example.com")
        return policy_for()


def targets(tenant: Tenant) -> list[Target]:
    with tenant_scope(tenant):
        return list(Target.objects.select_related("tenant").order_by("pk"))


def test_telling_and_waking_the_same_targets_do_not_lock_each_other_out(
    tenant: Tenant, policy: Policy
) -> None:
    first, middle, last = targets(tenant)
    with held(middle):
        telling_ = Beside(tenant, lambda: telling.targets_of(policy))
        wait_until_blocked(1)
        waking = Beside(tenant, lambda: telling.wake([last.pk, first.pk, middle.pk]))
        wait_until_blocked(2)
    telling_.end()
    waking.end()


def test_two_that_make_targets_do_not_lock_each_other_out(tenant: Tenant, policy: Policy) -> None:
    """One names a new target, too; both end with the same ones."""
    with tenant_scope(tenant):
        policy.settings.emails += ["b@example.com", "y@example.com"]
        policy.settings.save()
        more = policy_for()
    _, middle, _ = targets(tenant)
    with held(middle):
        each = [Beside(tenant, lambda: telling.targets_of(more)) for _ in range(3)]
        wait_until_blocked(3)
    for one in each:
        one.end()
    assert len(targets(tenant)) == 5


def test_sending_again_waits_for_a_delivery_that_stores_the_message(
    tenant: Tenant, policy: Policy
) -> None:
    """A delivery holds the target and then writes its message: so does who sends it again."""
    target = targets(tenant)[0]
    with tenant_scope(tenant):
        message = Notification.objects.create(
            tenant=tenant,
            target=target,
            kind="test",
            state="sent",
            content={},
            created_at=database_now(),
        )
    again: list[Beside] = []

    def deliver() -> None:
        Target.objects.select_for_update().get(pk=target.pk)
        again.append(Beside(tenant, lambda: actions.redeliver(message.pk)))
        wait_until_blocked(1)
        Notification.objects.filter(pk=message.pk).update(tries=1)

    Beside(tenant, deliver).end()
    again[0].end()


def test_taking_addresses_out_waits_for_deliveries_that_sum_up(
    tenant: Tenant, policy: Policy
) -> None:
    """A delivery holds the target and then writes what waits for it: so do changed settings."""
    target = targets(tenant)[0]
    with tenant_scope(tenant):
        messages = [
            Notification.objects.create(
                tenant=tenant, target=target, kind="test", content={}, created_at=database_now()
            ).pk
            for _ in range(2)
        ]
    changes: list[Beside] = []

    def take_out() -> None:
        with preferences.changing(tenant) as settings:
            settings.emails = ["m@example.com"]
            preferences.save_settings(settings)

    def deliver() -> None:
        Target.objects.select_for_update().get(pk=target.pk)
        Notification.objects.filter(pk=messages[1]).update(tries=1)
        changes.append(Beside(tenant, take_out))
        wait_until_blocked(1)
        Notification.objects.filter(pk=messages[0]).update(tries=1)

    Beside(tenant, deliver).end()
    changes[0].end()
    with tenant_scope(tenant):
        assert set(Notification.objects.values_list("state", flat=True)) == {"suppressed"}


def test_changed_settings_wait_for_a_look_that_has_told_and_ends(
    tenant: Tenant, policy: Policy
) -> None:
    """A look keeps the targets that it told from changed settings, and then holds its check."""
    target = targets(tenant)[0]
    workflow = make_workflow(make_environment(tenant))
    with tenant_scope(tenant):
        settings = policy.settings
        settings.enabled = False
        settings.save()
        fail(workflow, 3)
        relay()
        work(checks.KIND)
        assert Incident.objects.get().suppressed
        Notification.objects.create(
            tenant=tenant, target=target, kind="test", content={}, created_at=database_now()
        )
    changes: list[Beside] = []

    def take_out() -> None:
        with preferences.changing(tenant) as settings:
            settings.emails = ["m@example.com"]
            preferences.save_settings(settings)

    def look() -> None:
        incident = Incident.objects.select_related("workflow__environment").get()
        incident.suppressed = ""
        telling.tell(incident, Notification.Kind.OPENED, policy, database_now())
        changes.append(Beside(tenant, take_out))
        wait_until_blocked(1)
        Check.objects.update(calm_until=None)

    Beside(tenant, look).end()
    changes[0].end()
    with tenant_scope(tenant):
        states = Notification.objects.filter(target=target).values_list("state", flat=True)
        assert list(states) == ["suppressed"] * 2, "also what the look has told"


def test_looks_that_tell_the_same_addresses_hold_neither_each_other_nor_deliveries(
    tenant: Tenant, policy: Policy
) -> None:
    """Found in a storm: one look after the other told, and workers found addresses locked."""
    environment = make_environment(tenant)
    for _ in range(2):
        fail(make_workflow(environment), 3)
    relay()
    work(checks.KIND)
    with tenant_scope(tenant):
        first, second = Incident.objects.select_related("workflow__environment")
    told, over = threading.Event(), threading.Event()

    def look_slowly() -> None:
        telling.tell(first, Notification.Kind.WORSE, policy, database_now())
        told.set()
        over.wait(20)

    slow = Beside(tenant, look_slowly)
    assert told.wait(10)
    try:
        quick = Beside(
            tenant, lambda: telling.tell(second, Notification.Kind.WORSE, policy, database_now())
        )
        quick.end(5)
        [kind] = [each for each in due.kinds() if each.name == kind_of_channel("email")]
        [claim] = due.claim(kind)
        with tenant_scope(tenant), claim.finishing():
            pass
    finally:
        over.set()
        slow.end()


def test_who_changes_settings_at_once_writes_over_nobody(tenant: Tenant, policy: Policy) -> None:
    api = api_for(tenant)
    began, over = threading.Event(), threading.Event()

    def slowly() -> None:
        with preferences.changing(tenant) as settings:
            settings.failure_threshold = 9
            preferences.save_settings(settings)
            began.set()
            over.wait(20)

    mine = Beside(tenant, slowly)
    assert began.wait(10)
    theirs = [
        Beside(tenant, partial(api.post, "/api/alerts/settings", change))
        for change in ({"timeWindowHours": 7}, {"repeatMinutes": 8}, {"alertOnInfo": True})
    ]
    wait_until_blocked(3)
    over.set()
    for each in (mine, *theirs):
        each.end()
    with tenant_scope(tenant):
        stored = AlertSettings.objects.get()
    assert (stored.failure_threshold, stored.time_window_hours) == (9, 7)
    assert (stored.repeat_minutes, stored.alert_on_info) == (8, True)
    assert stored.emails == policy.settings.emails


def test_a_workflow_that_two_say_something_of_at_once_has_one_preference(tenant: Tenant) -> None:
    workflow = make_workflow(make_environment(tenant))
    began, over = threading.Event(), threading.Event()

    def slowly() -> None:
        with preferences.changing(tenant):
            preferences.save_preference(workflow, {"failure_threshold": 9})
            began.set()
            over.wait(20)

    mine = Beside(tenant, slowly)
    assert began.wait(10)
    change = {"workflows": [{"workflowId": workflow.external_id, "enabled": False}]}
    theirs = Beside(tenant, lambda: api_for(tenant).post("/api/alerts/settings", change))
    wait_until_blocked(1)
    over.set()
    mine.end()
    theirs.end()
    with tenant_scope(tenant):
        [stored] = WorkflowPreference.objects.all()
    assert (stored.enabled, stored.failure_threshold) == (False, None), "the API says all of it"


def test_looks_that_tell_different_targets_do_not_lock_out_who_takes_them_out(
    tenant: Tenant, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first workflow tells the last target: all are locked before, in their one order."""
    environment = make_environment(tenant)
    workflows = [make_workflow(environment), make_workflow(environment)]
    first, _, last = targets(tenant)
    with tenant_scope(tenant):
        for workflow, target in zip(workflows, (last, first), strict=True):
            preferences.save_preference(workflow, {"emails": [target.address]})
    for workflow in workflows:
        fail(workflow, 3)
    relay()
    claims = claim_looks()
    assert len(claims) == 2
    others: list[Beside] = []
    tell = telling.tell

    def tell_beside_another(*args: Any) -> None:
        tell(*args)
        if not others:
            others.append(Beside(tenant, lambda: telling.hold([first.pk, last.pk])))
            wait_until_blocked(1)

    monkeypatch.setattr(telling, "tell", tell_beside_another)
    checks.look_at_workflows(claims)
    [other] = others
    other.end()
    with tenant_scope(tenant):
        assert Incident.objects.count() == 2


def test_the_relay_waits_for_no_look_and_what_came_meanwhile_is_looked_at(
    tenant: Tenant, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow = make_workflow(make_environment(tenant))
    fail(workflow, 3)
    relay()
    [claim] = claim_looks()
    counted, over = threading.Event(), threading.Event()
    [rule] = workflow_rules()
    look = rule.look

    def look_and_wait(*args: Any) -> list[Verdict]:
        verdicts = look(*args)
        counted.set()
        over.wait(20)
        return verdicts

    monkeypatch.setattr(rule, "look", look_and_wait)
    looking = Beside(tenant, lambda: checks.look_at_workflow(claim))
    assert counted.wait(10)
    fail(workflow)
    relaying = Beside(tenant, relay)
    try:
        relaying.end(5)
    finally:
        over.set()
        looking.end()
    with tenant_scope(tenant):
        check, incident = Check.objects.get(), Incident.objects.get()
        assert incident.count == 3
        assert check.due_at is not None
        assert check.due_at == check.calm_until
        Check.objects.update(due_at=database_now())
    work(checks.KIND)
    with tenant_scope(tenant):
        assert Incident.objects.get().count == 4
