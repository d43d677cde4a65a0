"""The inbox of incidents: what is open first, filters in the address, acts on one or many."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from alerts import actions, health
from alerts.models import Incident, Notification
from alerts.pages.labels import IncidentRow, row_of, rule_titles
from monitoring.pages.news import MOST_NEW, UNCHANGED
from monitoring.words import Severity
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part

PAGE_SIZE: Final = 50
LAST_PAGE: Final = 200
_UNRESOLVED: Final = "unresolved"
_STATUSES: Final = {
    _UNRESOLVED: "Not resolved",
    Incident.Status.OPEN.value: "Open",
    Incident.Status.ACKNOWLEDGED.value: "Acknowledged",
    Incident.Status.RESOLVED.value: "Resolved",
    "all": "All",
}
_SEVERITIES: Final = {each.slug: each for each in reversed(Severity)}


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for; nonsense counts as not said."""

    status: str
    severity: Severity | None
    rule: str
    workflow_id: int | None
    summary_id: int | None
    page: int

    @classmethod
    def by(cls, request: TenantRequest) -> Asked:
        """Read `status`, `severity`, `rule`, `workflow`, `summary` and `page`."""
        query = request.GET
        summary = number(query.get("summary", ""))
        status = query.get("status", "all" if summary else _UNRESOLVED)
        rule = query.get("rule", "")
        return cls(
            status=status if status in _STATUSES else _UNRESOLVED,
            severity=_SEVERITIES.get(query.get("severity", "")),
            rule=rule if rule in rule_titles() else "",
            workflow_id=number(query.get("workflow", "")),
            summary_id=summary,
            page=min(number(query.get("page", "")) or 1, LAST_PAGE),
        )

    @property
    def is_narrowed(self) -> bool:
        chosen = (self.severity, self.rule, self.workflow_id, self.summary_id)
        return any(chosen) or self.status != _UNRESOLVED

    @property
    def address(self) -> str:
        """The query string that asks for the same, from its first page."""
        asked = {
            "status": self.status,
            "severity": self.severity.slug if self.severity else None,
            "rule": self.rule,
            "workflow": self.workflow_id,
            "summary": self.summary_id,
        }
        return urlencode({name: value for name, value in asked.items() if value})

    def news_url(self, since: dt.datetime) -> str:
        """Where to ask what opened after the list was shown."""
        return f"?{self.address}&{urlencode({'since': since.isoformat()})}"

    def incidents(self) -> QuerySet[Incident]:
        """What matches, open ones first."""
        found = Incident.objects.open_first().select_related("workflow__environment")
        if self.status == _UNRESOLVED:
            found = found.exclude(status=Incident.Status.RESOLVED)
        elif self.status != "all":
            found = found.filter(status=self.status)
        if self.severity:
            found = found.filter(severity=self.severity)
        if self.rule:
            found = found.filter(rule=self.rule)
        if self.workflow_id:
            found = found.filter(workflow_id=self.workflow_id)
        if self.summary_id:
            told = Notification.objects.filter(summary_id=self.summary_id)
            found = found.filter(pk__in=told.values("incident_id"))
        return found


def number(text: str) -> int | None:
    """A whole number that an address names; None for what is none."""
    is_number = text.isascii() and text.isdigit() and len(text) < 19
    return int(text) if is_number else None


@tenant_member(Role.VIEWER)
@require_safe
def inbox(request: TenantRequest, slug: str) -> HttpResponse:
    """Incidents that match the address' filters; the whole page or its list."""
    asked = Asked.by(request)
    if request.headers.get("HX-Target") == "news":
        return _news(request, asked)
    first = (asked.page - 1) * PAGE_SIZE
    found = list(asked.incidents()[first : first + PAGE_SIZE + 1])
    rows: list[IncidentRow] = [row_of(each, slug) for each in found[:PAGE_SIZE]]
    context = {
        "asked": asked,
        "groups": _groups(rows),
        "statuses": _STATUSES,
        "severities": list(_SEVERITIES),
        "rules": rule_titles(),
        "switched_off": health.switched_off_addresses(),
        "newer_page": asked.page - 1 if asked.page > 1 else None,
        "older_page": asked.page + 1 if len(found) > PAGE_SIZE else None,
        "is_new": not rows and not asked.is_narrowed and not Incident.objects.exists(),
        "back": request.get_full_path(),
        "news_url": asked.news_url(timezone.now()) if asked.page == 1 else None,
    }
    return render_part(request, "alerts/inbox.html", context, {"list": "list_part"})


def _groups(rows: list[IncidentRow]) -> list[tuple[str, list[IncidentRow]]]:
    """(heading, rows): one scan's many findings stand apart from what goes wrong now."""
    found = [("", [row for row in rows if not row.is_from_scan])]
    found.append(("From scans", [row for row in rows if row.is_from_scan]))
    return [group for group in found if group[1]]


def _news(request: TenantRequest, asked: Asked) -> HttpResponse:
    """How many incidents opened since the list was shown; no content while it says so already."""
    try:
        since = dt.datetime.fromisoformat(request.GET.get("since", ""))
    except ValueError as error:
        raise BadRequest("This address was not made here.") from error
    number = asked.incidents().filter(opened_at__gt=since)[:MOST_NEW].count()
    if str(number) == request.GET.get("shown", "0"):
        return HttpResponse(status=UNCHANGED)
    said = f"{MOST_NEW - 1}+" if number == MOST_NEW else str(number)
    context = {"number": number, "said": said, "list_url": f"?{asked.address}"}
    return render(request, "alerts/inbox.html#news_part", context)


@tenant_member(Role.OPERATOR)
@require_POST
def act(request: TenantRequest, slug: str) -> HttpResponse:
    """Acknowledge or resolve the incidents whose ids were sent, and go back."""
    act_name = request.POST.get("act", "")
    ids = [pk for text in request.POST.getlist("id") if (pk := number(text))]
    if act_name in actions.ACTS and ids:
        person = request.user
        done = actions.act_on_many(
            act_name, ids, by=person.email, user=person, record=_recorder(request, act_name)
        )
        word = {"acknowledge": "acknowledged", "resolve": "resolved"}[act_name]
        noun = "incident" if done == 1 else "incidents"
        if done:
            messages.success(request, f"{done} {noun} {word}.")
        else:
            messages.info(request, f"Nothing to do: what you chose was {word} or over already.")
    else:
        messages.warning(request, "Nothing was selected.")
    back = request.POST.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        return redirect("alerts:inbox", slug)
    return redirect(back)


def _recorder(request: TenantRequest, act_name: str) -> Callable[[Incident], object]:
    def record(incident: Incident) -> None:
        audit.record(
            f"incident.{act_name}",
            tenant=request.tenant,
            request=request,
            subject=incident.title,
            incident=incident.pk,
        )

    return record
