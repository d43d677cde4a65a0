"""The tenant's default schedule, its history, and scans on demand (requirement 001)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import msgspec
from django.http import HttpResponse
from django.utils import timezone
from msgspec import UNSET, UnsetType

from monitoring.api.answers import Page, Pagination, json_answer
from monitoring.api.endpoints import Answer, Body, operation
from monitoring.api.finding import workflows_of
from monitoring.api.forms import PROBLEMS, read_form, refusal
from monitoring.api.parameters import CURSOR, OFFSET, integer
from scheduling import schedules
from scheduling.api.paging import page_after
from scheduling.models import Scan, Schedule
from scheduling.models.schedule import DEFAULT_ZONE
from scheduling.schedules import ScanRunsError
from tenants import audit, problems
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role
from tenants.zones import known_zones

SUBJECT = "Schedules and scans"
DEFAULT_NAME = "Default"
_NEXT_RUNS = 3
HISTORY_LIMIT = integer("limit", "How many.", low=1, high=500, default=20)

ClockTime = Annotated[
    str,
    msgspec.Meta(
        # `$` also matches before a line's end, which the length forbids; schemas know no `\\Z`.
        pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$",
        max_length=5,
        description="HH:MM, 24 hours.",
    ),
]
WorkflowId = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class ScheduleForm(msgspec.Struct, forbid_unknown_fields=True):
    """What may be set; what is left out stays as it is."""

    enabled: bool | UnsetType = UNSET
    frequency: Literal["daily", "12h", "6h", "weekly"] | UnsetType = UNSET
    preferred_time: ClockTime | UnsetType = UNSET
    timezone: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET
    weekday: Annotated[int, msgspec.Meta(ge=0, le=6, description="0 is Monday.")] | UnsetType = (
        UNSET
    )
    scan_scope: Literal["all", "active", "selected"] | UnsetType = UNSET
    selected_workflow_ids: (
        Annotated[list[WorkflowId], msgspec.Meta(max_length=1_000)] | UnsetType
    ) = UNSET


class ScheduleAnswer(msgspec.Struct):
    """The default schedule; `id` null: none was made yet."""

    id: int | None
    enabled: bool
    frequency: str
    preferred_time: str
    timezone: str
    weekday: int
    scan_scope: str
    selected_workflow_ids: list[str]
    last_scan_at: dt.datetime | None
    next_scan_at: dt.datetime | None
    next_runs: list[dt.datetime]


class ScanRow(msgspec.Struct):
    """One scan, or a due time that was missed."""

    id: int
    status: str
    workflows_scanned: int
    issues_found: int
    critical_issues: int
    due_at: dt.datetime | None
    started_at: dt.datetime | None
    completed_at: dt.datetime | None
    problem: str
    summary: dict[str, Any]


class Deleted(msgspec.Struct):
    """Whether it is gone."""

    deleted: bool


class Started(msgspec.Struct):
    """The scan that was started."""

    scan_id: int


_NIGHT = dt.datetime(2026, 11, 22, 8, 0, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)
_EXAMPLE = msgspec.to_builtins(
    ScheduleAnswer(
        1, True, "daily", "02:00", DEFAULT_ZONE, 0, "all", [], None, _NIGHT,
        [_NIGHT, _NIGHT + _DAY, _NIGHT + 2 * _DAY],
    )
)  # fmt: skip
_FORM = {
    "enabled": True,
    "frequency": "daily",
    "preferredTime": "02:00",
    "timezone": DEFAULT_ZONE,
    "scanScope": "all",
    "selectedWorkflowIds": [],
}
SCAN_EXAMPLE: dict[str, Any] = msgspec.to_builtins(ScanRow(
    7, "completed", 120, 14, 2, _NIGHT, _NIGHT, _NIGHT + dt.timedelta(seconds=2), "",
    {"by_severity": {"critical": 2, "warning": 12}, "new": 1, "first_seen": 0, "fixed": 3},
))  # fmt: skip

_ONE_OF_20 = msgspec.to_builtins(Pagination(1, 20, 0, False, None))


@operation(
    "GET",
    "/api/schedules",
    name="schedules",
    access=Access("read"),
    subject=SUBJECT,
    answers=(Answer(200, "The schedule.", ScheduleAnswer, _EXAMPLE),),
    capability="schedules",
)
def show_schedule(request: ApiRequest) -> HttpResponse:
    """Show the default schedule with its next three runs."""
    return json_answer(_answer(request, default_schedule(request)))


@operation(
    "POST",
    "/api/schedules",
    name="schedules",
    access=Access("write", Role.ADMIN),
    subject=SUBJECT,
    answers=(Answer(200, "The schedule as it is now.", ScheduleAnswer, _EXAMPLE),),
    body=Body((ScheduleForm,), ("application/json",), {"every night": _FORM}),
    problems=(*PROBLEMS, 404, 409),
)
def set_schedule(request: ApiRequest) -> HttpResponse:
    """Make or change the default schedule.

    Fields that are left out stay as they are; a new schedule begins enabled, daily at 02:00.
    """
    _demand_whole_tenant(request)
    form = read_form(request, ScheduleForm)
    selected = _selected(request, form)
    with schedules.alone(request.tenant):
        schedule = default_schedule(request)
        _apply(form, schedule)
        schedules.save(schedule, selected)
        _note(request, "schedule.set", schedule.name)
    return json_answer(_answer(request, schedule))


@operation(
    "DELETE",
    "/api/schedules",
    name="schedules",
    access=Access("write", Role.ADMIN),
    subject=SUBJECT,
    answers=(Answer(200, "It is gone; its scans stay.", Deleted, {"deleted": True}),),
    problems=(404,),
)
def delete_schedule(request: ApiRequest) -> HttpResponse:
    """Delete the default schedule. A scan of it that runs is stopped."""
    _demand_whole_tenant(request)
    with schedules.alone(request.tenant):
        schedule = Schedule.objects.filter(is_default=True).first()
        if schedule is None:
            raise problems.not_found()
        schedules.delete(schedule)
        _note(request, "schedule.deleted", schedule.name)
    return json_answer(Deleted(True))


@operation(
    "POST",
    "/api/schedules/run-now",
    name="schedules-run-now",
    access=Access("write", Role.OPERATOR),
    subject=SUBJECT,
    answers=(Answer(202, "It was started.", Started, {"scan_id": 7}),),
    problems=(409,),
)
def run_now(request: ApiRequest) -> HttpResponse:
    """Start a scan at once: of the default schedule's workflows, else of all.

    409 while one runs.
    """
    _demand_whole_tenant(request)
    try:
        with schedules.alone(request.tenant):
            schedule = Schedule.objects.filter(is_default=True).first()
            scan = schedules.run_now(request.tenant, schedule, by=None)
            _note(request, "scan.started", f"scan {scan.pk}")
    except ScanRunsError as error:
        raise problems.conflict(str(error), kind="scan-runs") from None
    return json_answer(Started(scan.pk), status=202)


@operation(
    "GET",
    "/api/schedules/history",
    name="schedules-history",
    access=Access("read"),
    subject=SUBJECT,
    answers=(
        Answer(
            200,
            "Scans, the newest first.",
            Page[ScanRow],
            {"data": [SCAN_EXAMPLE], "pagination": _ONE_OF_20},
        ),
    ),
    query=(HISTORY_LIMIT, CURSOR, OFFSET),
    problems=(400,),
)
def list_scans(request: ApiRequest) -> HttpResponse:
    """List past and running scans of every schedule, missed due times too."""
    page = page_after(request, Scan.objects.all(), scan_row, HISTORY_LIMIT.of(request))
    return json_answer(page)


def _demand_whole_tenant(request: ApiRequest) -> None:
    """Refuse a token of one environment: a schedule holds for all environments, as its scans do."""
    if request.token is not None and request.token.environment_id is not None:
        raise problems.forbidden(
            "This token is bound to one environment; the schedule and its scans are of all."
        )


def _note(request: ApiRequest, action: str, subject: str) -> None:
    audit.record(action, tenant=request.tenant, request=request, subject=subject)


def scan_row(scan: Scan) -> ScanRow:
    """A scan as a line of the history."""
    return ScanRow(
        id=scan.pk,
        status=scan.status,
        workflows_scanned=scan.workflows_scanned,
        issues_found=scan.issues_found,
        critical_issues=scan.critical_issues,
        due_at=scan.due_for,
        started_at=scan.started_at,
        completed_at=scan.completed_at,
        problem=scan.problem,
        summary=scan.summary,
    )


def default_schedule(request: ApiRequest) -> Schedule:
    """The tenant's default schedule; one that is not stored yet where there is none."""
    found = Schedule.objects.filter(is_default=True).first()
    return found or Schedule(tenant=request.tenant, name=DEFAULT_NAME, is_default=True)


def _answer(request: ApiRequest, schedule: Schedule) -> ScheduleAnswer:
    stored = schedule.pk is not None
    enabled = stored and schedule.enabled
    return ScheduleAnswer(
        id=schedule.pk,
        enabled=enabled,
        frequency=schedule.frequency,
        preferred_time=schedule.preferred_time.strftime("%H:%M"),
        timezone=schedule.time_zone,
        weekday=schedule.weekday,
        scan_scope=schedule.scope,
        selected_workflow_ids=_selected_ids(request, schedule) if stored else [],
        last_scan_at=schedule.last_scan_at,
        next_scan_at=schedule.next_scan_at,
        next_runs=schedule.timetable.upcoming(timezone.now(), _NEXT_RUNS) if enabled else [],
    )


def _selected_ids(request: ApiRequest, schedule: Schedule) -> list[str]:
    """What is selected, of the environment that the token is bound to."""
    selected = schedule.selected.order_by("external_id")
    if request.token is not None and request.token.environment_id is not None:
        selected = selected.filter(environment_id=request.token.environment_id)
    return list(selected.values_list("external_id", flat=True))


def _apply(form: ScheduleForm, schedule: Schedule) -> None:
    if form.enabled is not UNSET:
        schedule.enabled = form.enabled
    if form.frequency is not UNSET:
        schedule.frequency = form.frequency
    if form.preferred_time is not UNSET:
        schedule.preferred_time = dt.time.fromisoformat(form.preferred_time)
    if form.timezone is not UNSET:
        if form.timezone not in known_zones():
            raise refusal(["timezone"], f"There is no time zone {form.timezone!r}.")
        schedule.time_zone = form.timezone
    if form.weekday is not UNSET:
        schedule.weekday = form.weekday
    elif schedule.pk is None:
        schedule.weekday = timezone.now().astimezone(schedule.timetable.zone).weekday()
    if form.scan_scope is not UNSET:
        schedule.scope = form.scan_scope


def _selected(request: ApiRequest, form: ScheduleForm) -> list[int] | None:
    """Ids of the workflows that the form selects. Raises 409 when environments must decide."""
    if form.selected_workflow_ids is UNSET:
        return None
    found = workflows_of(request, form.selected_workflow_ids)
    for place, external_id in enumerate(form.selected_workflow_ids):
        if external_id not in found:
            raise refusal(["selected_workflow_ids", place], "No workflow has this id.")
    return [workflow.pk for workflow in found.values()]
