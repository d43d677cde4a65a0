"""Making and changing a schedule: an ordinary page, shown in a dialog where there is script."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from monitoring.models import Workflow
from scheduling import schedules
from scheduling.models import Schedule, Scope
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.forms import TimeZoneField
from tenants.models import Role
from tenants.parts import render_part, wanted_part
from tenants.zones import zone_names

if TYPE_CHECKING:
    _ScheduleModelForm = forms.ModelForm[Schedule]
else:
    _ScheduleModelForm = forms.ModelForm

_MATCHES: Final = 30
_MOST_SELECTED: Final = 1_000
_NEXT_RUNS: Final = 3
_PARTS: Final = {"next-runs": "next_runs_part", "workflows": "workflows_part"}
_WEEKDAYS: Final = list(
    enumerate(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"))
)


class ScheduleForm(_ScheduleModelForm):
    """When, how often and what is scanned."""

    weekday = forms.TypedChoiceField(choices=_WEEKDAYS, coerce=int)
    preferred_time = forms.TimeField(
        label="At",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        input_formats=["%H:%M", "%H:%M:%S"],
        help_text="Every 12 and 6 hours count from this time by the clock.",
    )
    time_zone = TimeZoneField(
        widget=forms.TextInput(
            attrs={"list": "time-zones", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text="Days with 23 or 25 hours are kept in mind: it runs once a day at this time.",
    )
    scope = forms.ChoiceField(
        label="Workflows", choices=Scope.choices, widget=forms.RadioSelect, initial=Scope.ALL
    )
    # The workflows of the tenant that is asking are known when the form is made.
    selected: forms.ModelMultipleChoiceField[Workflow] = forms.ModelMultipleChoiceField(
        queryset=None, required=False
    )

    class Meta:
        model = Schedule
        fields = ("name", "enabled", "frequency", "weekday", "preferred_time", "time_zone", "scope")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        selected = self.fields["selected"]
        assert isinstance(selected, forms.ModelMultipleChoiceField)
        selected.queryset = Workflow.objects.select_related("environment")

    def clean(self) -> dict[str, Any]:
        """Demand workflows where selected ones shall be scanned."""
        cleaned = super().clean() or self.cleaned_data
        chosen = cleaned.get("selected")
        if cleaned.get("scope") == Scope.SELECTED and chosen is not None:
            if not chosen:
                self.add_error("selected", "Select at least one workflow.")
            if len(chosen) > _MOST_SELECTED:
                self.add_error("selected", f"Select at most {_MOST_SELECTED:,} workflows.")
        return cleaned


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def schedule_new(request: TenantRequest, slug: str) -> HttpResponse:
    """Make a schedule; the tenant's first one is its default."""
    is_first = not Schedule.objects.filter(is_default=True).exists()
    schedule = Schedule(
        tenant=request.tenant,
        name="Default" if is_first else "",
        is_default=is_first,
        time_zone=request.user.time_zone,
        weekday=timezone.localtime().weekday(),
        created_by=request.user,
    )
    return _edit(request, schedule, title="New schedule", submit="Make schedule")


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def schedule_change(request: TenantRequest, slug: str, schedule_id: int) -> HttpResponse:
    """Change a schedule; its next run is planned anew."""
    schedule = get_object_or_404(Schedule.objects.all(), pk=schedule_id)
    return _edit(request, schedule, title=f"Schedule “{schedule.name}”", submit="Save")


@tenant_member(Role.ADMIN)
@require_POST
def schedule_delete(request: TenantRequest, slug: str, schedule_id: int) -> HttpResponse:
    """Delete a schedule; its scans stay, one that runs is stopped."""
    with schedules.alone(request.tenant):
        schedule = get_object_or_404(Schedule.objects.all(), pk=schedule_id)
        name = schedule.name
        schedules.delete(schedule)
        audit.record("schedule.deleted", tenant=request.tenant, request=request, subject=name)
    messages.success(request, f"“{name}” is deleted. Its scans stay in the history.")
    return redirect("scheduling:scans", slug)


def _edit(request: TenantRequest, schedule: Schedule, *, title: str, submit: str) -> HttpResponse:
    form = _form(request, schedule)
    part = wanted_part(request, _PARTS)
    if request.method == "POST" and "find" not in request.POST and not part and form.is_valid():
        _save(request, form)
        messages.success(request, f"Saved. {_planned(form.instance)}")
        return redirect("scheduling:scans", request.tenant.slug)
    context = {
        "form": form,
        "schedule": schedule,
        "title": title,
        "submit": submit,
        "next_runs": _next_runs(form),
        **_workflows(request, form),
        "find": request.POST.get("q", "") or request.GET.get("q", ""),
        "zone_names": zone_names(),
    }
    is_refused = form.is_bound and "find" not in request.POST and not part and form.errors
    return render_part(
        request, "scheduling/schedule.html", context, _PARTS, status=422 if is_refused else 200
    )


def _form(request: TenantRequest, schedule: Schedule) -> ScheduleForm:
    if request.method == "POST":
        return ScheduleForm(request.POST, instance=schedule)
    initial = {"selected": list(schedule.selected.all())} if schedule.pk else {}
    return ScheduleForm(instance=schedule, initial=initial)


def _save(request: TenantRequest, form: ScheduleForm) -> None:
    schedule = form.instance
    chosen = [workflow.pk for workflow in form.cleaned_data["selected"]]
    with transaction.atomic():
        schedules.save(schedule, chosen)
        audit.record(
            "schedule.set",
            tenant=request.tenant,
            request=request,
            subject=schedule.name,
            changed=form.changed_data,
        )


def _planned(schedule: Schedule) -> str:
    if schedule.next_scan_at is None:
        return "It is switched off."
    there = schedule.next_scan_at.astimezone(schedule.timetable.zone)
    return f"Next run: {there:%A %d %B, %H:%M} ({schedule.time_zone})."


def _next_runs(form: ScheduleForm) -> list[dt.datetime]:
    """The next runs of what the form says now, as its zone's clocks show; none while incomplete."""
    schedule = form.instance
    if form.is_bound:
        form.is_valid()
        needed = ("frequency", "preferred_time", "time_zone", "weekday")
        if any(name in form.errors for name in needed):
            return []
    return walls(schedule)


def walls(schedule: Schedule) -> list[dt.datetime]:
    """The next three runs as the clocks of the schedule's zone show them (naive)."""
    timetable = schedule.timetable
    runs = timetable.upcoming(timezone.now(), _NEXT_RUNS)
    # Without their zone, or templates would show them in the person's.
    return [run.astimezone(timetable.zone).replace(tzinfo=None) for run in runs]


def _workflows(request: TenantRequest, form: ScheduleForm) -> dict[str, Any]:
    """Workflows to choose from: those that are chosen, then the first that match the search.

    With `others`, how many match, where not all of them are there.
    """
    if form.is_bound:
        ids = [
            int(text)
            for text in request.POST.getlist("selected")
            if text.isascii() and text.isdigit() and len(text) < 19
        ]
        chosen = list(_known().filter(pk__in=ids[:_MOST_SELECTED]))
    else:
        chosen = list(form.initial.get("selected", []))
    found = _known().named_like(request.POST.get("q", "").replace("\x00", ""))  # type: ignore[attr-defined]
    matching = found.exclude(pk__in=[one.pk for one in chosen])
    others = list(matching.order_by("name", "pk")[:_MATCHES])
    is_cut = len(others) == _MATCHES
    return {
        "workflows": [*((one, True) for one in chosen), *((one, False) for one in others)],
        "shown": len(others),
        "others": matching.count() if is_cut else len(others),
    }


def _known() -> QuerySet[Workflow]:
    return Workflow.objects.select_related("environment")
