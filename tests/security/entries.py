"""The table of the access matrix: how each address is built and who may do what there.

A new address needs an entry here; without one the suite fails.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from monitoring.words import ErrorClass
from tenants.models import Role
from tests.security.rules import (
    SIGN_IN,
    Api,
    Call,
    Entry,
    NobodyButSeen,
    Open,
    Operators,
    Page,
    Person,
    Probe,
    Staff,
    Values,
    nothing,
)
from tests.security.world import Ids
from tests.tenants.factories import PASSWORD

VIEWER, OPERATOR, ADMIN, OWNER = Role.VIEWER, Role.OPERATOR, Role.ADMIN, Role.OWNER
_READ, _DELETE = Api("read", VIEWER), Api("write", ADMIN)
_CONFIGURE, _OPERATE = Api("write", ADMIN), Api("write", OPERATOR)
_INGEST, _ANY_TOKEN = Api("ingest", ADMIN), Api(None, VIEWER)


# --- what ids name --------------------------------------------------------------------------------
def _named(name: str, field: str) -> Callable[[Ids], Values]:
    return lambda ids: {name: getattr(ids, field)}


_execution = _named("execution_id", "execution")
_execution_of_either = (_execution, _named("execution_id", "sender_id"))
_workflow = _named("workflow_id", "workflow")
_workflow_external = _named("workflow_id", "workflow_external")


# --- everybody's ----------------------------------------------------------------------------------
_PUBLIC = {
    "health-live": Entry({"GET": Call(Open())}, public="load balancers"),
    "health-ready": Entry({"GET": Call(Open())}, public="load balancers"),
    "health-detailed": Entry({"GET": Call(Open(), (200, 401, 403, 404))}, public="operators"),
    "metrics": Entry({"GET": Call(Open(), (404,))}, public="monitoring, by a token of its own"),
    "scheduling:scheduler-status": Entry({"GET": Call(Operators())}),
    "scheduling:status": Entry({"GET": Call(Operators(nobody=SIGN_IN))}),
    "scheduling:status-try-again": Entry(
        {
            "POST": Call(
                Operators(nobody=SIGN_IN, changes=True),
                (302,),
                lambda ids: {"kind": "delivery", "row": "1"},
                unaudited="there is no such row",
            )
        }
    ),
    "sign-in": Entry(
        {
            "GET": Call(Open(), (200, 302)),
            "POST": Call(
                Open(),
                (200, 302),
                lambda ids: {"email": "a@b.example", "password": "x"},
                unaudited="a wrong password changes nothing",
            ),
        }
    ),
    "sign-out": Entry({"POST": Call(Open(), (302,), unaudited="nobody signs out, too")}),
    "password-reset": Entry(
        {
            "GET": Call(Open()),
            "POST": Call(
                Open(),
                (302,),
                lambda ids: {"email": "unknown@person.example"},
                unaudited="the address is unknown",
            ),
        }
    ),
    "password-reset-sent": Entry({"GET": Call(Open())}),
    "password-set": Entry(
        {"GET": Call(Open(), (410,)), "POST": Call(Open(), (410,), unaudited="the link is void")},
        fixed={"uid": "MQ", "token": "no-such-token"},
    ),
    "home": Entry({"GET": Call(Person(), (200, 302))}),
    "account": Entry(
        {
            "GET": Call(Person()),
            "POST": Call(
                Person(),
                (302,),
                lambda ids: {
                    "name": "N",
                    "time_zone": "UTC",
                    "theme": "dark",
                    "density": "compact",
                },
                unaudited="one's own taste",
            ),
        }
    ),
    "account-theme": Entry(
        {"POST": Call(Person(), (204,), lambda ids: {"theme": "dark"}, unaudited="one's own taste")}
    ),
    "password-change": Entry(
        {
            "GET": Call(Person()),
            "POST": Call(
                Person(),
                (302,),
                lambda ids: {"password": PASSWORD, "new_password": "another long password"},
            ),
        }
    ),
    "alerts:acknowledge-link": Entry(
        {"GET": Call(Open(), (410,)), "POST": Call(Open(), (410,), unaudited="the link is void")},
        fixed={"token": "no-such-token"},
    ),
    "session-end": Entry(
        {"POST": Call(Person(), (302,), lambda ids: {"session": "no such"}, unaudited="none ends")}
    ),
}


# --- pages of a tenant ----------------------------------------------------------------------------
_ALERT_SETTINGS = {
    "enabled": "on", "failure_threshold": "4", "time_window_hours": "12", "repeat_minutes": "30",
    "emails": "new@alerts.example",
    **{f"severity-{each.slug}": "2" for each in ErrorClass},
}  # fmt: skip
_TOKEN = {"name": "Made by the matrix", "scopes": "read"}


def _page(
    role: Role,
    name: Callable[[Ids], Values] = nothing,
    *probes: Probe,
    fixed: Values | None = None,
    **post: Any,
) -> Entry:
    """A page to look at; with `data` also one to send, answered by a redirect (or `statuses`)."""
    calls = {"GET": Call(Page(role))}
    if post:
        calls["POST"] = Call(Page(role), **{"statuses": (302,), **post})
    return Entry(calls, (name,), probes, has_slug=True, fixed=fixed or {})


def _act(
    role: Role,
    name: Callable[[Ids], Values] = nothing,
    *probes: Probe,
    data: Callable[[Ids], Values] = nothing,
    statuses: tuple[int, ...] = (302,),
    **more: Any,
) -> Entry:
    """An address that only acts."""
    call = Call(Page(role), statuses, data, **more)
    return Entry({"POST": call}, (name,), probes, has_slug=True)


_FILTERS = tuple(
    Probe(query=lambda ids, name=name, field=field: {name: getattr(ids, field)})  # type: ignore[misc]
    for name, field in (
        ("workflow", "workflow"),
        ("workflow", "workflow_external"),
        ("environment", "environment"),
        ("fingerprint", "fingerprint"),
        ("after", "cursor"),
        ("before", "cursor"),
    )
)
_LIST_ENVIRONMENT = Probe(query=_named("environment", "environment"))
_CHOSEN = Probe("POST", data=_named("id", "execution"))

_TENANT = {
    "settings": Entry({"GET": Call(Page(ADMIN), (302,))}, has_slug=True),
    "tenant-settings": _page(
        OWNER, data=lambda ids: {"name": "Renamed", "location_id": "another-location"}
    ),
    "tenant-delete": _page(OWNER, data=lambda ids: {"confirm": ids.slug}),
    "tokens": _page(
        ADMIN,
        nothing,
        Probe("POST", data=lambda ids: {**_TOKEN, "environment_id": ids.environment}),
        data=lambda ids: _TOKEN,
    ),
    "token-revoke": _act(ADMIN, _named("token_id", "token")),
    "members": _page(
        OWNER, data=lambda ids: {"email": "new@member.example", "role": "viewer"}, statuses=(200,)
    ),
    "member-role": _act(
        OWNER, _named("membership_id", "membership"), data=lambda ids: {"role": "operator"}
    ),
    "member-remove": _act(OWNER, _named("membership_id", "membership")),
    "member-invite-again": _act(
        OWNER, _named("membership_id", "membership"), statuses=(200,)
    ),
    "audit": _page(ADMIN),
    "monitoring:overview": _page(VIEWER, nothing, _LIST_ENVIRONMENT),
    "monitoring:overview-chart": _page(VIEWER),
    "monitoring:search": _page(
        VIEWER, nothing,
        *(Probe(query=_named("q", field)) for field in ("sender_id", "execution", "workflow_external")),
    ),
    "monitoring:executions": _page(VIEWER, nothing, *_FILTERS),
    "monitoring:executions-export": Entry(
        {"GET": Call(Page(VIEWER)), "POST": Call(Page(VIEWER), unaudited="it only reads")},
        probes=(*_FILTERS, _CHOSEN),
        has_slug=True,
        fixed={"form": "ndjson"},
    ),
    "monitoring:executions-delete": _act(
        ADMIN, nothing,
        _CHOSEN,
        Probe("POST", data=_named("frozen", "confirmation")),
        *(Probe("POST", probe.query, lambda ids: {"all_matching": "1"}) for probe in _FILTERS),
        data=lambda ids: {"id": ids.execution, "confirm": "1"},
    ),
    "monitoring:views": _page(VIEWER),
    "monitoring:view-save": _act(
        OPERATOR, data=lambda ids: {"name": "Failed", "query": "status=failed"}
    ),
    "monitoring:view-delete": _act(OPERATOR, _named("view_id", "view")),
    "monitoring:ingest-token": _act(ADMIN),
    "monitoring:connect-python": _page(VIEWER),
    "monitoring:connect-python-token": _act(ADMIN),
    "monitoring:execution": _page(
        VIEWER, _execution,
        Probe(query=_named("node", "node")), *_FILTERS,
    ),
    "monitoring:execution-data": Entry(
        {"GET": Call(Page(VIEWER))}, (_execution,), has_slug=True, fixed={"part": "trigger"}
    ),
    "monitoring:execution-delete": _page(ADMIN, _execution, data=nothing),
    "monitoring:bulk-job": _page(ADMIN, _named("job_id", "job")),
    "monitoring:bulk-job-cancel": _act(ADMIN, _named("job_id", "job")),
    "monitoring:workflows": _page(
        VIEWER, nothing, _LIST_ENVIRONMENT, Probe(query=_named("q", "workflow_external"))
    ),
    "monitoring:definition-upload": _page(
        OPERATOR, data=lambda ids: {"environment": ids.environment}, statuses=(422,),
        unaudited="without a file nothing is stored",
    ),
    "monitoring:workflow": _page(VIEWER, _workflow),
    "monitoring:workflow-chart-durations": _page(VIEWER, _workflow),
    "monitoring:workflow-chart-executions": _page(VIEWER, _workflow),
    "monitoring:workflow-clear": _page(ADMIN, _workflow, data=nothing),
    "monitoring:environments": _page(
        ADMIN, data=lambda ids: {"name": "New", "provider": "n8n", "base_url": ""}
    ),
    "monitoring:environment": _page(
        ADMIN, _named("environment_id", "environment"),
        data=lambda ids: {"name": "Renamed", "provider": "n8n", "base_url": ""},
    ),
    "monitoring:quota": _page(ADMIN),
    "monitoring:retention": _page(
        ADMIN, data=lambda ids: {"retention_days": "120", "retention_minimum": "50"}
    ),
    "monitoring:retention-cancel": _act(ADMIN, _named("run_id", "retention_run")),
    "alerts:inbox": _page(
        VIEWER, nothing,
        Probe(query=_named("workflow", "workflow")), Probe(query=_named("summary", "notification")),
    ),
    "alerts:act": _act(
        OPERATOR, nothing,
        Probe("POST", data=lambda ids: {"act": "resolve", "id": ids.incident}),
        data=lambda ids: {"act": "acknowledge", "id": ids.incident},
    ),
    "alerts:incident": _page(VIEWER, _named("incident_id", "incident")),
    "alerts:deliveries": _page(OPERATOR),
    "alerts:send-again": _act(OPERATOR, _named("notification_id", "notification")),
    "alerts:settings": _page(ADMIN, data=lambda ids: _ALERT_SETTINGS),
    "alerts:preview": _page(ADMIN),
    "alerts:renew-secret": _act(ADMIN, statuses=(200,)),
    "alerts:switch-on": _act(ADMIN),
    "alerts:test": _act(ADMIN, statuses=(200,)),
    "alerts:workflow": _page(
        ADMIN, _workflow, data=lambda ids: {"enabled": "off", "failure_threshold": "5"}
    ),
}  # fmt: skip


# --- the API --------------------------------------------------------------------------------------
def _new_execution(ids: Ids) -> Values:
    return {
        "id": f"new-{uuid.uuid4()}", "workflowId": "new-workflow", "status": "success",
        "nodeExecutions": [],
    }  # fmt: skip


def _short_log(ids: Ids) -> Values:
    return {
        "status": "failed",
        "failedActionId": "send",
        "errorMessage": "no",
        "executionTimeMs": 5,
    }


def _definition(ids: Ids) -> Values:
    return {"nodes": [], "edges": []}


def _reading(
    *names: Callable[[Ids], Values], probes: tuple[Probe, ...] = (), **more: Call
) -> Entry:
    """A resource to read; `more` are its other methods."""
    return Entry({"GET": Call(_READ), **more}, names or (nothing,), probes, is_json=True)


_LIST_PROBES = tuple(
    Probe(query=lambda ids, name=name, field=field: {name: getattr(ids, field)})  # type: ignore[misc]
    for name, field in (
        ("workflowId", "workflow_external"),
        ("workflow_id", "workflow_external"),
        ("environment_id", "environment"),
        ("cursor", "cursor"),
    )
)
_CHOICE_PROBES = _LIST_PROBES[:3]
_IN_ENVIRONMENT = Probe(query=_named("environment_id", "environment"))
_PUSH_PROBES = (
    Probe("POST", _named("environment_id", "environment"), _new_execution),
    Probe("POST", data=lambda ids: {**_new_execution(ids), "environmentId": ids.environment}),
)
_N8N_CALL = {
    "execution": {"id": "231", "error": {"message": "no", "stack": "at x"}, "mode": "trigger"},
    "workflow": {"id": "7", "name": "From n8n"},
}

_API = {
    "monitoring:api-limits": Entry({"GET": Call(_ANY_TOKEN)}, is_json=True),
    "monitoring:api-openapi": Entry({"GET": Call(Open())}, public="the same for everybody"),
    "monitoring:api-docs": Entry({"GET": Call(Open())}, public="the same for everybody"),
    "monitoring:api-executions": Entry(
        {
            "GET": Call(_READ),
            "POST": Call(_INGEST, (201,), _new_execution, unaudited="it is the sender's record"),
        },
        probes=(*_LIST_PROBES, *_PUSH_PROBES),
        is_json=True,
    ),
    "monitoring:api-executions-batch": Entry(
        {
            "POST": Call(
                _INGEST, data=lambda ids: [_new_execution(ids)], unaudited="it is the sender's record"
            )
        },
        probes=(
            Probe("POST", _named("environment_id", "environment"), lambda ids: [_new_execution(ids)]),
            Probe("POST", data=lambda ids: [{**_new_execution(ids), "environmentId": ids.environment}]),
        ),
        is_json=True,
    ),
    "monitoring:api-n8n-error-workflow": Entry(
        {
            "POST": Call(
                _INGEST, (201,), lambda ids: _N8N_CALL, unaudited="it is the sender's record"
            )
        },
        probes=(Probe("POST", _named("environment_id", "environment"), lambda ids: _N8N_CALL),),
        is_json=True,
    ),
    "monitoring:api-execution": _reading(
        *_execution_of_either, probes=_CHOICE_PROBES, DELETE=Call(_DELETE)
    ),
    "monitoring:api-execution-heartbeat": Entry(
        {"POST": Call(_INGEST, unaudited="it is the sender's record")},
        _execution_of_either,
        (Probe("POST", _named("environment_id", "environment")),),
        is_json=True,
    ),
    **{
        f"monitoring:api-{name}": Entry(
            {"POST": Call(_INGEST, unaudited="it is the sender's record")},
            (_workflow_external,),
            (Probe("POST", _named("environment_id", "environment")),),
            makes=frozenset({"POST"}),
            is_json=True,
        )
        for name in ("ping", "ping-start", "ping-fail")
    },
    "monitoring:api-workflow-executions": _reading(probes=_LIST_PROBES),
    "monitoring:api-workflow-execution": _reading(
        *_execution_of_either, probes=_CHOICE_PROBES, DELETE=Call(_DELETE)
    ),
    "monitoring:api-workflow-execution-logs": _reading(*_execution_of_either, probes=_CHOICE_PROBES),
    "monitoring:api-workflow-executions-overview": _reading(probes=_LIST_PROBES),
    "monitoring:api-workflows": _reading(probes=_LIST_PROBES),
    "monitoring:api-workflow": _reading(_workflow_external, probes=(_IN_ENVIRONMENT,)),
    "monitoring:api-workflow-failures": _reading(_workflow_external, probes=_LIST_PROBES),
    "monitoring:api-workflow-metrics": _reading(_workflow_external, probes=(_IN_ENVIRONMENT,)),
    "monitoring:api-workflow-executions-of": Entry(
        {
            "GET": Call(_READ),
            "POST": Call(_INGEST, (201,), _short_log, unaudited="it is the sender's record"),
            "DELETE": Call(_DELETE),
        },
        (_workflow_external,),
        probes=(
            *_LIST_PROBES,
            Probe("POST", _named("environment_id", "environment"), _short_log),
            Probe("DELETE", _named("environment_id", "environment")),
        ),
        makes=frozenset({"POST"}),
        is_json=True,
    ),
    "monitoring:api-workflow-definition": Entry(
        {"PUT": Call(Api("write", OPERATOR), data=_definition)},
        (_workflow_external,),
        probes=(Probe("PUT", _named("environment_id", "environment"), _definition),),
        makes=frozenset({"PUT"}),
        is_json=True,
    ),
    "monitoring:api-observability-kpis": _reading(probes=_LIST_PROBES),
    "monitoring:api-observability-overview": _reading(probes=_LIST_PROBES),
    "monitoring:api-observability-workflows": _reading(probes=_LIST_PROBES),
    "monitoring:api-analytics-executions": _reading(probes=_LIST_PROBES),
    "monitoring:api-v1-executions": _reading(probes=_LIST_PROBES),
    "monitoring:api-alert-settings": Entry(
        {"GET": Call(_READ), "POST": Call(_CONFIGURE, data=lambda ids: {"failureThreshold": 4})},
        probes=(
            Probe("POST", data=lambda ids: {"workflows": [{"workflow_id": ids.workflow_external}]}),
        ),
        is_json=True,
    ),
    "monitoring:api-alert-configure": Entry(
        {"POST": Call(_CONFIGURE, data=lambda ids: {"failureThreshold": 4})}, is_json=True
    ),
    "monitoring:api-alert-test": Entry({"POST": Call(_CONFIGURE)}, is_json=True),
    "monitoring:api-incidents": _reading(probes=(Probe(query=_named("cursor", "incident")),)),
    "monitoring:api-incident-ack": Entry(
        {"POST": Call(_OPERATE)}, (_named("incident_id", "incident"),), is_json=True
    ),
    "monitoring:api-incident-resolve": Entry(
        {"POST": Call(_OPERATE)}, (_named("incident_id", "incident"),), is_json=True
    ),
    "^(?:api|v1)/": Entry(
        {method: Call(Open(), (404,), unaudited="there is nothing")
         for method in ("GET", "POST", "PUT", "DELETE")},
    ),
}  # fmt: skip


def _two_scans(ids: Ids) -> Values:
    return {"scan_id": ids.scan, "other_id": ids.other_scan}


_IN_ENVIRONMENT_POST = Probe("POST", _named("environment_id", "environment"))
_SCHEDULE = {
    "name": "Made by the matrix", "frequency": "weekly", "weekday": "1",
    "preferred_time": "04:00", "time_zone": "UTC", "scope": "all",
}  # fmt: skip
_SCHEDULING = {
    "monitoring:api-schedules": _reading(
        POST=Call(_DELETE, data=lambda ids: {"frequency": "weekly"}), DELETE=Call(_DELETE),
        probes=(
            Probe("POST", data=lambda ids: {"selectedWorkflowIds": [ids.workflow_external]}),
        ),
    ),
    "monitoring:api-schedules-run-now": Entry(
        {"POST": Call(Api("write", OPERATOR), (202,))}, is_json=True
    ),
    "monitoring:api-schedules-history": _reading(),
    "monitoring:api-workflow-analysis": Entry(
        {"POST": Call(_READ, unaudited="it only reads")}, (_workflow_external,), (_IN_ENVIRONMENT_POST,),
        is_json=True,
    ),
    "monitoring:api-scan": _reading(
        _named("scan_id", "scan"), _named("scan_id", "other_scan"), probes=(_IN_ENVIRONMENT,)
    ),
    "monitoring:api-scan-compare": _reading(_two_scans, probes=(_IN_ENVIRONMENT,)),
    "scheduling:scans": _page(VIEWER),
    "scheduling:removal-run": _act(ADMIN),
    "scheduling:scan-start": _act(OPERATOR, data=lambda ids: {"schedule": ids.schedule}),
    "scheduling:scan": _page(VIEWER, _named("scan_id", "other_scan")),
    "scheduling:scan-cancel": _act(OPERATOR, _named("scan_id", "scan")),
    "scheduling:scan-compare": _page(VIEWER, _two_scans),
    "scheduling:schedule-new": _page(ADMIN, data=lambda ids: _SCHEDULE),
    "scheduling:schedule": _page(
        ADMIN, _named("schedule_id", "schedule"), data=lambda ids: _SCHEDULE
    ),
    "scheduling:schedule-delete": _act(ADMIN, _named("schedule_id", "schedule")),
}  # fmt: skip


# --- the operator's admin -------------------------------------------------------------------------
_FIELDS_MISSING = "an empty form changes nothing"
_NO_ACTION = "no action was chosen"


def _model(
    name: str, pk: Callable[[Ids], Any], *, add: bool, change: bool, delete: bool
) -> dict[str, Entry]:
    """The admin's six addresses of one model; the flags say what an operator of all may."""
    one: tuple[Callable[[Ids], Values], ...] = (lambda ids: {"object_id": pk(ids)},)
    adding = Staff(changes=True) if add else NobodyButSeen()
    changing = Staff(changes=True) if change else NobodyButSeen()
    deleting = Staff(changes=True) if delete else NobodyButSeen()
    key, route = f"admin:{name}", f"admin/{name.replace('_', '/')}/"
    return {
        f"{key}_changelist": Entry(
            {"GET": Call(Staff()), "POST": Call(Staff(), (200, 302), unaudited=_NO_ACTION)}
        ),
        f"{key}_add": Entry(
            {"GET": Call(adding), "POST": Call(adding, unaudited=_FIELDS_MISSING)}
        ),
        f"{key}_change": Entry(
            {"GET": Call(Staff()), "POST": Call(changing, (200, 302), unaudited=_FIELDS_MISSING)},
            one,
        ),
        f"{key}_history": Entry({"GET": Call(Staff())}, one),
        f"{key}_delete": Entry(
            {"GET": Call(deleting), "POST": Call(deleting, (302,), lambda ids: {"post": "yes"})},
            one,
        ),
        f"{route}<path:object_id>/": Entry({"GET": Call(Open(), (301, 302))}, one),
    }  # fmt: skip


_ADMIN = {
    "admin:index": Entry({"GET": Call(Staff())}),
    "admin:app_list": Entry({"GET": Call(Staff())}, fixed={"app_label": "tenants"}),
    "admin:login": Entry({"GET": Call(Open(), (302, 403))}),
    "admin:logout": Entry({"POST": Call(Open(), (302,), unaudited="nobody signs out, too")}),
    "admin:password_change": Entry({"GET": Call(Staff(), (302,))}),
    "admin:password_change_done": Entry({"GET": Call(Staff())}),
    "admin:autocomplete": Entry(
        {"GET": Call(Staff())},
        fixed={"?": {"app_label": "tenants", "model_name": "membership", "field_name": "user"}},
    ),
    "admin:jsi18n": Entry({"GET": Call(Staff())}, public="words of the admin's own script"),
    "admin:view_on_site": Entry(
        {"GET": Call(Staff(), (302, 404))}, fixed={"content_type_id": 1, "object_id": 1}
    ),
    "admin/(?P<url>.*)$": Entry({"GET": Call(Staff(), (404,))}, fixed={"url": "no/such/page"}),
    "admin:tenants_tenant_make_token": Entry(
        {
            "GET": Call(Staff(changes=True, denied=404)),
            "POST": Call(Staff(changes=True, denied=404), data=lambda ids: _TOKEN),
        },
        (_named("tenant_id", "tenant"),),
    ),
    **_model("tenants_tenant", lambda ids: ids.tenant, add=True, change=True, delete=False),
    **_model("tenants_user", lambda ids: ids.person, add=True, change=True, delete=True),
    **_model("tenants_apitoken", lambda ids: ids.token, add=False, change=False, delete=False),
    **_model("tenants_auditevent", lambda ids: ids.audit_event, add=False, change=False, delete=False),
    **_model("monitoring_environment", lambda ids: ids.environment, add=True, change=True, delete=False),
    **_model("monitoring_workflow", lambda ids: ids.workflow, add=False, change=False, delete=False),
}  # fmt: skip

ENTRIES: dict[str, Entry] = {
    **_PUBLIC,
    **_TENANT,
    **_API,
    **_SCHEDULING,
    **_ADMIN,
}
