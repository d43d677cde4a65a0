"""Two tenants full of marked data, and everybody who could ask for it.

Every text of a tenant holds its marker, so that a leak shows wherever it happens. Ids that senders
choose are the same in both tenants where they can be (`SHARED`), because then a missing scope
answers with the neighbour's row.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.core import signing
from django.db import connection
from django.utils import timezone

from alerts import incidents, telling
from alerts.models import (
    AlertSettings,
    Incident,
    IncidentEvent,
    Notification,
    WorkflowPreference,
)
from alerts.policy import policy_for
from monitoring import bulk
from monitoring.environments import create_environment
from monitoring.history import ExecutionQuery, cursor_of, find_by_any_id
from monitoring.ids import milliseconds, new_id
from monitoring.models import BulkJob, Environment, Execution, RetentionRun, SavedView, Workflow
from monitoring.recording.environments import source_for
from monitoring.recording.schema import decode, full_execution
from monitoring.recording.store import record_executions
from monitoring.words import Severity
from scheduling import schedules
from scheduling.models import Finding, Scan, ScannedWorkflow, Schedule
from tenants import audit
from tenants.deletion import request_deletion
from tenants.lifecycle import suspend
from tenants.models import ApiToken, AuditEvent, Membership, Role, Scope, Tenant, User
from tenants.scoping import tenant_scope
from tenants.tokens import revoke_token
from tests.tenants.factories import make_member, make_person, make_tenant, make_token, signed_in_as

SHARED = "shared"
"""A workflow, execution and node id that both tenants' senders use."""

HIGH = 71
OWN_MARKER, OTHER_MARKER = "quokkamark", "zebramark"


@dataclass(frozen=True, slots=True)
class Ids:
    """All by which a tenant's things are named from outside."""

    slug: str
    location: str
    tenant: int
    environment: int
    workflow: int
    workflow_external: str
    execution: uuid.UUID
    sender_id: str
    node: str
    fingerprint: str
    cursor: str
    token: int
    membership: int
    person: int
    job: int
    retention_run: int
    audit_event: int
    confirmation: str
    incident: int
    notification: int
    schedule: int
    scan: int
    other_scan: int
    view: int


@dataclass(frozen=True, slots=True)
class Actor:
    """Somebody who calls: by a browser's session, by a token, or without either.

    `role` is a member's in the own tenant. `answers` is the status that a caller always gets where
    one must be somebody (a token that does not count, a member of another tenant), else None.
    """

    name: str
    session: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    role: Role | None = None
    scopes: frozenset[str] = frozenset()
    is_staff: bool = False
    is_superuser: bool = False
    names_tenant: bool = False
    answers: int | None = None

    @property
    def is_person(self) -> bool:
        return bool(self.session)


@dataclass(slots=True)
class World:
    """The own tenant, another one, ids that nobody has, and the callers by name."""

    own: Ids
    other: Ids
    nobodys: Ids
    actors: dict[str, Actor] = field(default_factory=dict)
    reset_link: tuple[str, str] = ("", "")

    def add(self, *actors: Actor) -> None:
        self.actors |= {actor.name: actor for actor in actors}


def build_world() -> World:
    """Store everything; the caller rolls it back."""
    _begin_numbers_high()
    own_tenant, own = _side("own-tenant", OWN_MARKER)
    other_tenant, other = _side("other-tenant", OTHER_MARKER)
    world = World(own, other, _nobodys(own))
    _add_people(world, own_tenant, other_tenant)
    _add_tokens(world, own_tenant, other_tenant)
    return world


def _begin_numbers_high() -> None:
    """Let ids be numbers that stand for nothing else on a page, so that tests can find them there."""
    with connection.cursor() as cursor:
        models = (
            *(Tenant, User, Membership, ApiToken, AuditEvent, Environment, Workflow, BulkJob),
            *(Incident, Notification, Schedule, Scan, SavedView),
        )
        for number, model in enumerate(models, start=HIGH):
            cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [model._meta.db_table])
            (sequence,) = cursor.fetchone() or ("",)
            cursor.execute(
                f"SELECT count(nextval(%s)) FROM generate_series((SELECT last_value FROM {sequence}), %s)",
                [sequence, number * 1_000],
            )


# --- data -----------------------------------------------------------------------------------------
def _side(slug: str, marker: str) -> tuple[Tenant, Ids]:
    tenant = make_tenant(name=f"Tenant {marker}", slug=slug, location_id=f"location-{marker}")
    with tenant_scope(tenant):
        environment = create_environment(
            tenant,
            name=f"Environment {marker}",
            provider="n8n",
            base_url=f"https://{marker}.example",
        )
    messages = [
        _message(marker, f"workflow-{marker}", f"run-{marker}", environment.pk),
        _message(marker, f"workflow-{marker}", f"second-{marker}", environment.pk),
        _message(marker, SHARED, SHARED, None),
    ]
    source = source_for(tenant.pk)
    bodies = [json.dumps(message).encode() for message in messages]
    record_executions([full_execution(decode(body), body, source) for body in bodies])
    with tenant_scope(tenant):
        execution = find_by_any_id(f"run-{marker}")[0]
        workflow = Workflow.objects.get(external_id=f"workflow-{marker}")
        return tenant, _ids(tenant, marker, environment.pk, workflow, execution)


def _message(
    marker: str, workflow_id: str, execution_id: str, environment_id: int | None
) -> dict[str, Any]:
    started = timezone.now() - dt.timedelta(hours=3, minutes=30)
    text = f"text {marker}"
    error = {"message": f"No route to {marker}", "stack": f"at {marker}.js:1"}
    return {
        "id": execution_id,
        "workflowId": workflow_id,
        "workflowName": f"Workflow {marker}",
        "environmentId": environment_id,
        "status": "error",
        "startedAt": started.isoformat(),
        "completedAt": (started + dt.timedelta(seconds=3)).isoformat(),
        "trigger": {"type": f"trigger-{marker}", "data": {text: text}},
        "error": error | {"nodeId": SHARED},
        "version": f"version-{marker}",
        "tags": [f"tag-{marker}"],
        "keys": {f"key-{marker}": text},
        "result": text,
        "nodeExecutions": [
            {
                "nodeId": node_id,
                "nodeName": f"Node {marker}",
                "nodeType": f"type-{marker}",
                "status": "error",
                "durationMs": 3_000,
                "input": [{text: text}],
                "output": {text: text},
                "error": error,
            }
            for node_id in (SHARED, f"node-{marker}")
        ],
    }


def _ids(
    tenant: Tenant, marker: str, environment: int, workflow: Workflow, execution: Execution
) -> Ids:
    colleague = make_person(email=f"colleague@{marker}.example", name=f"Colleague {marker}")
    colleague.set_unusable_password()
    colleague.save()
    membership = Membership.objects.create(tenant=tenant, user=colleague, role=Role.VIEWER)
    token, _ = make_token(tenant, Scope.READ)
    ApiToken.objects.filter(pk=token.pk).update(name=f"Token {marker}")
    query = ExecutionQuery(workflow_ids=(workflow.pk,))
    said = f"whole history of {marker}"
    job = bulk.start_deletion(tenant, bulk.preview(query), said=said, expected=2, by=colleague)
    event = audit.record("test.mark", tenant=tenant, actor=colleague, subject=f"Event {marker}")
    return Ids(
        slug=tenant.slug,
        location=tenant.location_id or "",
        tenant=tenant.pk,
        environment=environment,
        workflow=workflow.pk,
        workflow_external=workflow.external_id,
        execution=execution.id,
        sender_id=execution.external_id or "",
        node=f"node-{marker}",
        fingerprint=bytes(execution.fingerprint or b"").hex(),
        cursor=cursor_of(execution.id),
        token=token.pk,
        membership=membership.pk,
        person=colleague.pk,
        job=job.pk,
        retention_run=RetentionRun.objects.create(tenant=tenant, horizon=timezone.now()).pk,
        audit_event=event.pk,
        confirmation=_confirmation(tenant.pk, query, said),
        view=SavedView.objects.create(
            tenant=tenant, name=f"View {marker}", query=f"workflow={workflow.pk}"
        ).pk,
        **_alerts(workflow, marker),
        **_scans(tenant, marker, workflow),
    )


def _alerts(workflow: Workflow, marker: str) -> dict[str, int]:
    """An incident that was told to somebody, and a workflow that differs."""
    tenant, now = workflow.tenant, timezone.now()
    AlertSettings.objects.create(tenant=tenant, emails=[f"alerts@{marker}.example"])
    own = {"enabled": True, "emails": [f"workflow@{marker}.example"]}
    WorkflowPreference.objects.create(tenant=tenant, workflow=workflow, **own)
    incident = Incident.objects.create(
        tenant=tenant,
        rule="failures",
        subject=f"workflow:{workflow.pk}",
        workflow=workflow,
        severity=Severity.CRITICAL,
        title=f"Incident {marker}",
        detail=f"Detail {marker}",
        count=3,
        counted_from=now,
        opened_at=now,
        last_at=now,
    )
    incidents.note(incident, IncidentEvent.Kind.OPENED, now, f"Opened {marker}")
    policy = policy_for(workflow.pk)
    telling.tell(incident, Notification.Kind.OPENED, policy, now)
    [notification] = incident.notifications.all()
    Notification.objects.update(state=Notification.State.FAILED, reason=f"Refused by {marker}")
    return {"incident": incident.pk, "notification": notification.pk}


def _confirmation(tenant_id: int, query: ExecutionQuery, said: str) -> str:
    """What the page that previews a deletion puts into its button."""
    content = [tenant_id, bulk.as_json(bulk.preview(query)), said, 2]
    return signing.dumps(content, salt="monitoring.bulk")


def _scans(tenant: Tenant, marker: str, workflow: Workflow) -> dict[str, int]:
    """A schedule, a scan that is open and one that found something."""
    schedule = Schedule(tenant=tenant, name=f"Schedule {marker}", is_default=True)
    schedules.save(schedule, [workflow.pk])
    done = Scan.objects.create(
        tenant=tenant, status=Scan.Status.COMPLETED, completed_at=timezone.now(), issues_found=1
    )
    ScannedWorkflow.objects.create(
        tenant=tenant, scan=done, workflow=workflow, execution_penalty=0, findings=1
    )
    Finding.objects.create(
        tenant=tenant,
        scan=done,
        workflow=workflow,
        rule="no-timeout",
        severity=Severity.WARNING,
        node_name=f"Node {marker}",
        message=f"Message {marker}",
        fingerprint=f"fingerprint-{marker}",
    )
    running = schedules.run_now(tenant, None, by=None)
    return {"schedule": schedule.pk, "scan": running.pk, "other_scan": done.pk}


def _nobodys(own: Ids) -> Ids:
    """Ids of the same forms that nothing has."""
    unknown = 2**40
    execution = new_id(milliseconds(timezone.now() - dt.timedelta(hours=3, minutes=30)))
    return Ids(
        slug="no-such-tenant",
        location="no-such-location",
        tenant=unknown,
        environment=unknown + 1,
        workflow=unknown + 2,
        workflow_external="no-such-workflow",
        execution=execution,
        sender_id="no-such-run",
        node="no-such-node",
        fingerprint="0" * len(own.fingerprint),
        cursor=cursor_of(execution),
        token=unknown + 3,
        membership=unknown + 4,
        person=unknown + 5,
        job=unknown + 6,
        audit_event=unknown + 7,
        confirmation=_confirmation(unknown, ExecutionQuery(workflow_ids=(unknown + 2,)), "nothing"),
        incident=unknown + 8,
        notification=unknown + 9,
        schedule=unknown + 10,
        scan=unknown + 11,
        other_scan=unknown + 12,
        view=unknown + 13,
        retention_run=unknown + 14,
    )


# --- callers --------------------------------------------------------------------------------------
def _add_people(world: World, own: Tenant, other: Tenant) -> None:
    world.add(Actor("nobody"))
    for role in Role:
        person = make_member(own, role, name=f"{role.label} {OWN_MARKER}")
        world.add(Actor(role.value, session=_session(person), role=role))
    both = make_member(own, Role.OWNER)
    Membership.objects.create(tenant=other, user=both, role=Role.OWNER)
    stranger = make_member(other, Role.OWNER)
    staff, superuser = make_person(is_staff=True), make_person(is_staff=True, is_superuser=True)
    gone = make_member(own, Role.OWNER)
    gone_session = _session(gone)
    User.objects.filter(pk=gone.pk).update(is_active=False)
    world.add(
        Actor("member of both", _session(both), role=Role.OWNER, names_tenant=True),
        Actor("owner of the other", _session(stranger), names_tenant=True, answers=404),
        Actor("staff", _session(staff), is_staff=True, answers=404),
        Actor(
            "operator of all", _session(superuser), is_staff=True, is_superuser=True, answers=404
        ),
        Actor("switched off", gone_session, answers=401),
    )


def _session(person: User) -> str:
    return str(signed_in_as(person).session.session_key)


def _add_tokens(world: World, own: Tenant, other: Tenant) -> None:
    for scope in Scope:
        world.add(_token(f"token {scope.value}", own, [scope]))
    _, key = make_token(own, Scope.READ)
    world.add(
        Actor("token as key", headers=(("X-API-Key", key),), scopes=frozenset({Scope.READ.value}))
    )
    expired, expired_secret = make_token(own)
    with tenant_scope(own):
        ApiToken.objects.filter(pk=expired.pk).update(
            expires_at=timezone.now() - dt.timedelta(seconds=1)
        )
    revoked, revoked_secret = make_token(own)
    revoke_token(revoked)
    suspended, deleted = make_tenant(), make_tenant()
    suspended_token = _token("token of a suspended tenant", suspended, Scope, answers=403)
    deleted_token = _token("token of a deleted tenant", deleted, Scope, answers=401)
    suspend(suspended)
    request_deletion(deleted)
    world.add(
        suspended_token,
        deleted_token,
        Actor("token expired", headers=_bearer(expired_secret), answers=401),
        Actor("token revoked", headers=_bearer(revoked_secret), answers=401),
        Actor("token unknown", headers=_bearer("fw_" + "x" * 8 + "_" + "y" * 43), answers=401),
        Actor("token malformed", headers=_bearer("\x7f ☃".encode().decode("latin-1")), answers=401),
        Actor("empty authorization", headers=(("Authorization", ""),), answers=401),
        Actor("empty bearer", headers=_bearer(""), answers=401),
        Actor("empty key", headers=(("X-API-Key", " "),), answers=401),
        Actor("password", headers=(("Authorization", "Basic b3duZXI6b3duZXI="),), answers=401),
        _token("token of the other", other, Scope, names_tenant=True, answers=404),
    )


def _token(name: str, tenant: Tenant, scopes: Iterable[Scope], **more: Any) -> Actor:
    chosen = list(scopes)
    _, secret = make_token(tenant, *chosen)
    return Actor(
        name, headers=_bearer(secret), scopes=frozenset(scope.value for scope in chosen), **more
    )


def _bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("Authorization", f"Bearer {secret}"),)
