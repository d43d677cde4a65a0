"""What a tenant wants to be told (requirements 000, section 5, and 001, section 3)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final

import msgspec
from django.http import HttpResponse
from msgspec import UNSET, Meta, UnsetType

from alerts import health, preferences
from alerts.api.reading import body_of, wrong
from alerts.channels.registry import channels
from alerts.channels.webhook.channel import Webhook
from alerts.models import AlertSettings, WorkflowPreference
from alerts.models.settings import HIGHEST_THRESHOLD, LONGEST_WINDOW_HOURS, severities
from alerts.policy import policy_for, settings_of
from alerts.testing import TooManyTestsError, send_test
from monitoring.api.answers import json_answer
from monitoring.api.bodies import JSON
from monitoring.api.endpoints import Answer, Body, operation
from monitoring.models import Workflow
from monitoring.words import ErrorClass, Severity
from tenants import audit, problems
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role, Scope, scopes_allow

Threshold = Annotated[int, Meta(ge=1, le=HIGHEST_THRESHOLD)]
Hours = Annotated[int, Meta(ge=1, le=LONGEST_WINDOW_HOURS)]
Minutes = Annotated[int, Meta(ge=5, le=24 * 60)]
Addresses = Annotated[
    str | list[str] | None, Meta(description="Mail addresses: a list, or a text with commas.")
]
_PROBLEMS: Final = (400, 409, 413, 415, 422)
_CLASSES: Final = {each.slug: each for each in ErrorClass}
_LEVELS: Final = {each.slug: each for each in Severity}


class WorkflowChange(msgspec.Struct):
    """What shall be different for one workflow; what is left out is as for all."""

    workflow_id: str
    environment_id: int | None = None
    enabled: bool | None = None
    failure_threshold: Threshold | None = None
    alert_email: Addresses = None


class SettingsChange(msgspec.Struct):
    """What shall change; what is left out stays. Fields may be camelCase or snake_case."""

    enabled: bool | UnsetType = UNSET
    failure_threshold: Threshold | UnsetType = UNSET
    time_window_hours: Hours | UnsetType = UNSET
    alert_on_critical: bool | UnsetType = UNSET
    alert_on_warning: bool | UnsetType = UNSET
    alert_on_info: bool | UnsetType = UNSET
    alert_on_scan: bool | UnsetType = UNSET
    repeat_minutes: Minutes | UnsetType = UNSET
    alert_email: str | list[str] | UnsetType | None = UNSET
    webhook_url: str | UnsetType | None = UNSET
    renew_webhook_secret: bool = False
    switch_webhook_on: Annotated[
        bool, Meta(description="Send to a webhook again that was switched off.")
    ] = False
    severities: Annotated[
        dict[str, str] | UnsetType, Meta(description="Class of errors → severity.")
    ] = UNSET
    workflows: Annotated[list[WorkflowChange], Meta(max_length=1_000)] | UnsetType = UNSET


class WorkflowAnswer(msgspec.Struct):
    """What is different for one workflow; null is as for all."""

    workflow_id: str
    environment_id: int
    enabled: bool | None
    failure_threshold: int | None
    alert_email: str | None


class SettingsAnswer(msgspec.Struct):
    """The settings of the tenant.

    Who may not change them reads addresses without what only their receivers should know: of a mail
    address what follows the @, of the webhook its host.
    """

    enabled: bool
    failure_threshold: int
    time_window_hours: int
    alert_on_critical: bool
    alert_on_warning: bool
    alert_on_info: bool
    alert_on_scan: bool
    repeat_minutes: int
    alert_email: str | None
    alert_emails: list[str]
    webhook_url: str | None
    webhook_switched_off_at: Annotated[
        dt.datetime | None,
        Meta(description="Every message had failed for 5 days; null: it is on."),
    ]
    webhook_secret: Annotated[
        str | None, Meta(description="A secret that this call made, shown this once; else null.")
    ]
    severities: dict[str, str]
    workflows: list[WorkflowAnswer]


class TestAnswer(msgspec.Struct):
    """What became of the test message to one address."""

    channel: str
    address: str
    success: bool
    detail: str
    duration_ms: int


class TestAnswers(msgspec.Struct):
    """`success`: there is somebody to tell, and everybody was reached."""

    success: bool
    data: list[TestAnswer]


_EXAMPLE: Final[dict[str, Any]] = {
    "enabled": True,
    "failure_threshold": 3,
    "time_window_hours": 24,
    "alert_on_critical": True,
    "alert_on_warning": True,
    "alert_on_info": False,
    "alert_on_scan": True,
    "repeat_minutes": 60,
    "alert_email": "ops@example.com, boss@example.com",
    "alert_emails": ["ops@example.com", "boss@example.com"],
    "webhook_url": "https://example.com/hooks/alerts",
    "webhook_switched_off_at": None,
    "webhook_secret": None,
    "severities": {
        each.slug: level.slug for each, level in ((c, Severity.WARNING) for c in ErrorClass)
    },
    "workflows": [],
}
_BODY: Final = Body(
    types=(SettingsChange,),
    content_types=(JSON,),
    examples={
        "settings": {
            "enabled": True,
            "failureThreshold": 3,
            "timeWindowHours": 24,
            "alertOnCritical": True,
            "alertEmail": "ops@example.com, boss@example.com",
            "webhookUrl": "https://example.com/hooks/alerts",
        }
    },
)
_ANSWERS: Final = (Answer(200, "The settings.", SettingsAnswer, _EXAMPLE),)


@operation(
    "GET",
    "/api/alerts/settings",
    name="alert-settings",
    capability="alerts",
    access=Access("read"),
    subject="Alerts",
    answers=_ANSWERS,
)
def show_alert_settings(request: ApiRequest) -> HttpResponse:
    """Show what is told, when and to whom."""
    return json_answer(_answer(request, settings_of(request.tenant)))


@operation(
    "POST",
    "/api/alerts/settings",
    name="alert-settings",
    access=Access("write", Role.ADMIN),
    subject="Alerts",
    body=_BODY,
    answers=_ANSWERS,
    problems=_PROBLEMS,
)
def change_alert_settings(request: ApiRequest) -> HttpResponse:
    """Change what is told, when and to whom.

    `workflows` are set one by one: those that are not named stay as they are.
    """
    return _change(request)


@operation(
    "POST",
    "/api/alerts/configure",
    name="alert-configure",
    access=Access("write", Role.ADMIN),
    subject="Alerts",
    body=_BODY,
    answers=_ANSWERS,
    problems=_PROBLEMS,
)
def configure_alerts(request: ApiRequest) -> HttpResponse:
    """Change the settings; the same as `POST /api/alerts/settings`."""
    return _change(request)


@operation(
    "POST",
    "/api/alerts/test",
    name="alert-test",
    access=Access("write", Role.ADMIN),
    subject="Alerts",
    answers=(
        Answer(
            200,
            "What each address answered.",
            TestAnswers,
            {
                "success": True,
                "data": [
                    {
                        "channel": "email",
                        "address": "ops@example.com",
                        "success": True,
                        "detail": "Taken by the mail server.",
                        "duration_ms": 120,
                    }
                ],
            },
        ),
    ),
    problems=(429,),
)
def test_alerts(request: ApiRequest) -> HttpResponse:
    """Send a test message through every channel that is set up and say what came back.

    What did not answer within 8 seconds is `success: false`. One test of a tenant at a time, and an
    address gets 5 of them an hour: more are 429.
    """
    _demand_whole_tenant(request)
    try:
        results = send_test(policy_for())
    except TooManyTestsError as error:
        raise problems.too_many(str(error), error.retry_after) from None
    audit.record("alerts.test", tenant=request.tenant, request=request, messages=len(results))
    data = [
        TestAnswer(
            each.channel,
            _shown(each.channel, each.address),
            each.is_delivered,
            each.said,
            each.latency_ms,
        )
        for each in results
    ]
    return json_answer(TestAnswers(bool(data) and all(each.success for each in data), data))


def _shown(channel: str, address: str) -> str:
    return channels()[channel].shown(address)


# --- changing -------------------------------------------------------------------------------------


def _change(request: ApiRequest) -> HttpResponse:
    change = body_of(request, SettingsChange)
    said = _said(change)
    if set(said) - {"workflows"}:
        _demand_whole_tenant(request)
    with preferences.changing(request.tenant) as settings:
        secret = None
        if set(said) - {"workflows", "severities"}:
            _apply(settings, change)
            secret = preferences.save_settings(settings, renew_secret=change.renew_webhook_secret)
        if change.switch_webhook_on:
            health.switch_on(each.target for each in health.switched_off_addresses())
        if change.severities is not UNSET:
            preferences.save_severities(request.tenant.pk, _severities(change.severities))
        if change.workflows is not UNSET:
            _apply_to_workflows(request, change.workflows)
        audit.record("alerts.settings", tenant=request.tenant, request=request, changed=said)
    return json_answer(_answer(request, settings, secret))


def _said(change: SettingsChange) -> list[str]:
    """The fields that a call names."""
    fields = {name: getattr(change, name) for name in change.__struct_fields__}
    for name in ("renew_webhook_secret", "switch_webhook_on"):
        if not fields[name]:
            del fields[name]
    return [name for name, value in fields.items() if value is not UNSET]


def _demand_whole_tenant(request: ApiRequest) -> None:
    """Refuse a token of one environment: what it asks for holds for all environments."""
    if _bound_to(request) is not None:
        raise problems.forbidden(
            "This token is bound to one environment: it may change `workflows` of that one only."
        )


_PLAIN: Final = (
    "enabled",
    "failure_threshold",
    "time_window_hours",
    "alert_on_critical",
    "alert_on_warning",
    "alert_on_info",
    "alert_on_scan",
    "repeat_minutes",
)


def _apply(settings: AlertSettings, change: SettingsChange) -> None:
    for name in _PLAIN:
        value = getattr(change, name)
        if value is not UNSET:
            setattr(settings, name, value)
    if change.alert_email is not UNSET:
        settings.emails = _addresses(change.alert_email, ["alert_email"])
    if change.webhook_url is not UNSET:
        try:
            settings.webhook_url = preferences.webhook_address(change.webhook_url or "")
        except ValueError as error:
            raise wrong(["webhook_url"], str(error).rstrip(".")) from None


def _addresses(said: str | list[str] | None, loc: list[str | int]) -> list[str]:
    try:
        return preferences.mail_addresses(said or [])
    except ValueError as error:
        raise wrong(loc, str(error)) from None


def _severities(said: dict[str, str]) -> dict[ErrorClass, Severity]:
    for name, level in said.items():
        if name not in _CLASSES:
            raise wrong(["severities", name], f"must be one of {', '.join(_CLASSES)}")
        if level not in _LEVELS:
            raise wrong(["severities", name], f"must be one of {', '.join(_LEVELS)}")
    return {_CLASSES[name]: _LEVELS[level] for name, level in said.items()}


def _apply_to_workflows(request: ApiRequest, changes: list[WorkflowChange]) -> None:
    for number, change in enumerate(changes):
        loc: list[str | int] = ["workflows", number]
        preferences.save_preference(
            _workflow(request, change, loc),
            {
                "enabled": change.enabled,
                "failure_threshold": change.failure_threshold,
                "emails": _addresses(change.alert_email, [*loc, "alert_email"]),
            },
        )


def _workflow(request: ApiRequest, change: WorkflowChange, loc: list[str | int]) -> Workflow:
    found = Workflow.objects.filter(external_id=change.workflow_id)
    for environment_id in (_bound_to(request), change.environment_id):
        if environment_id is not None:
            found = found.filter(environment_id=environment_id)
    several = list(found.select_related("environment")[:20])
    if not several:
        raise wrong([*loc, "workflow_id"], "no workflow has this id")
    if len(several) > 1:
        raise problems.conflict(
            "Several environments know this workflow id: say environment_id beside it.",
            candidates=[
                {"workflow_id": each.external_id, "environment_id": each.environment_id}
                for each in several
            ],
            kind="ambiguous",
        )
    return several[0]


# --- answering ------------------------------------------------------------------------------------


def _answer(
    request: ApiRequest, settings: AlertSettings, secret: str | None = None
) -> SettingsAnswer:
    emails, webhook = settings.emails, settings.webhook_url
    if not _may_change(request) or _bound_to(request) is not None:
        emails, webhook = [_masked(each) for each in emails], webhook and Webhook.shown(webhook)
    return SettingsAnswer(
        **{name: getattr(settings, name) for name in _PLAIN},
        alert_email=", ".join(emails) or None,
        alert_emails=emails,
        webhook_url=webhook or None,
        webhook_switched_off_at=_switched_off_at(),
        webhook_secret=secret,
        severities={each.slug: level.slug for each, level in severities().items()},
        workflows=_preferences(request),
    )


def _may_change(request: ApiRequest) -> bool:
    """Whether the caller may change settings; with a bound token, those of its environment."""
    if request.token is not None:
        return scopes_allow(frozenset(request.token.scopes), Scope.WRITE)
    return request.membership is not None and Role(request.membership.role).at_least(Role.ADMIN)


def _bound_to(request: ApiRequest) -> int | None:
    """The environment that a token is bound to."""
    return request.token.environment_id if request.token else None


def _masked(email: str) -> str:
    return f"…@{email.rpartition('@')[2]}"


def _switched_off_at() -> dt.datetime | None:
    off = [each.target for each in health.switched_off_addresses()]
    return next((each.switched_off_at for each in off if each.channel == Webhook.slug), None)


def _preferences(request: ApiRequest) -> list[WorkflowAnswer]:
    found = WorkflowPreference.objects.select_related("workflow").order_by("id")
    bound = _bound_to(request)
    if bound is not None:
        found = found.filter(workflow__environment_id=bound)
    may_change = _may_change(request)
    return [
        WorkflowAnswer(
            workflow_id=each.workflow.external_id,
            environment_id=each.workflow.environment_id,
            enabled=each.enabled,
            failure_threshold=each.failure_threshold,
            alert_email=", ".join(email if may_change else _masked(email) for email in each.emails)
            or None,
        )
        for each in found
    ]
