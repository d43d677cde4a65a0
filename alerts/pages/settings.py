"""What a tenant wants to be told and where: the form, its preview, the test, the webhook's secret."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from alerts import health, preferences
from alerts.channels.registry import channels
from alerts.channels.webhook.channel import is_secret, new_secret
from alerts.models import WorkflowPreference
from alerts.models.settings import severities
from alerts.pages.forms import SettingsForm, SeveritiesForm
from alerts.policy import Policy, policy_for, settings_of
from alerts.preview import preview, untold_classes
from alerts.testing import TooManyTestsError, send_test
from monitoring.database import database_now
from monitoring.words import ErrorClass, Severity
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role


@tenant_member(Role.ADMIN)
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: TenantRequest, slug: str) -> HttpResponse:
    """Show the settings; by POST, change them (a new secret is shown this once)."""
    form = SettingsForm(request.POST or None, settings=settings_of(request.tenant))
    severity_form = SeveritiesForm(request.POST or None)
    secret = None
    if request.method == "POST":
        if form.is_valid() and severity_form.is_valid():
            secret = _save(request, form, severity_form)
            if secret is None:
                messages.success(request, "Saved.")
                return redirect("alerts:settings", slug)
        else:
            return _page(request, form, severity_form, status=422)
    return _page(request, form, severity_form, secret=secret)


def _save(request: TenantRequest, form: SettingsForm, severity_form: SeveritiesForm) -> str | None:
    """Store what the reader changed; what others changed since the page was made stays."""
    with preferences.changing(request.tenant) as stored:
        for name, value in form.changed.items():
            setattr(stored, name, value)
        proposed = request.POST.get("proposed_secret", "")
        secret = preferences.save_settings(stored, proposed_secret=proposed)
        preferences.save_severities(request.tenant.pk, severity_form.chosen(severity_form.changed))
        changed = [*form.changed, *severity_form.changed]
        audit.record("alerts.settings", tenant=request.tenant, request=request, changed=changed)
    return secret


def _page(
    request: TenantRequest,
    form: SettingsForm,
    severity_form: SeveritiesForm,
    *,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    stored = settings_of(request.tenant)
    context = {
        "form": form,
        "severity_form": severity_form,
        "has_webhook": bool(stored.webhook_url),
        "proposed_secret": "" if stored.webhook_secret else _proposed_secret(request),
        "switched_off": health.switched_off_addresses(),
        "mail_configured": django_settings.MAIL_CONFIGURED,
        "preferences": WorkflowPreference.objects.select_related("workflow__environment"),
        **_previewed(Policy(request.tenant, stored), severities()),
        **more,
    }
    return render(request, "alerts/settings.html", context, status=status)


def _proposed_secret(request: TenantRequest) -> str:
    """What will sign messages to the first webhook, the same until it is saved."""
    said = request.POST.get("proposed_secret", "")
    return said if is_secret(said) else new_secret()


def _previewed(policy: Policy, chosen: dict[ErrorClass, Severity]) -> dict[str, Any]:
    return {
        "preview": preview(policy, chosen, database_now()),
        "alerts_are_on": policy.settings.enabled,
        "untold_classes": untold_classes(policy, chosen),
    }


@tenant_member(Role.ADMIN)
@require_safe
def preview_part(request: TenantRequest, slug: str) -> HttpResponse:
    """What the settings in the address would have told last week; nothing is stored."""
    stored = settings_of(request.tenant)
    form = SettingsForm(request.GET, settings=stored)
    form.is_valid()
    for name in form.cleaned_data.keys() & _COUNTS_IN_PREVIEW:
        setattr(stored, name, form.cleaned_data[name])
    chosen = severities()
    severity_form = SeveritiesForm(request.GET)
    if severity_form.is_valid():
        chosen = severity_form.chosen(severity_form.cleaned_data)
    context = _previewed(Policy(request.tenant, stored), chosen)
    return render(request, "alerts/settings.html#preview_part", context)


_COUNTS_IN_PREVIEW = {
    "enabled",
    "failure_threshold",
    "time_window_hours",
    "repeat_minutes",
    "alert_on_critical",
    "alert_on_warning",
    "alert_on_info",
}


@tenant_member(Role.ADMIN)
@never_cache
@require_POST
def test(request: TenantRequest, slug: str) -> HttpResponse:
    """Send a test message to every address and show each result."""
    stored = settings_of(request.tenant)
    forms = SettingsForm(settings=stored), SeveritiesForm()
    try:
        results = send_test(policy_for())
    except TooManyTestsError as error:
        messages.warning(request, str(error))
        answer = _page(request, *forms, status=429)
        answer["Retry-After"] = str(error.retry_after)
        return answer
    audit.record("alerts.test", tenant=request.tenant, request=request, messages=len(results))
    known = channels()
    shown = [
        (f"{known[each.channel].title} {known[each.channel].shown(each.address)}", each)
        for each in results
    ]
    return _page(request, *forms, test_results=shown, is_tested=True)


@tenant_member(Role.ADMIN)
@require_POST
def switch_on(request: TenantRequest, slug: str) -> HttpResponse:
    """Let addresses that were switched off get messages again."""
    with preferences.changing(request.tenant):
        off = health.switched_off_addresses()
        health.switch_on(each.target for each in off)
        shown = ", ".join(each.shown for each in off)
        audit.record("alerts.switch_on", tenant=request.tenant, request=request, subject=shown)
    messages.success(request, "Switched on again: the next message is sent there.")
    return redirect("alerts:settings", slug)


@tenant_member(Role.ADMIN)
@never_cache
@require_POST
def renew_secret(request: TenantRequest, slug: str) -> HttpResponse:
    """Make a new secret for the webhook; the one before signs for a day beside it."""
    secret = None
    with preferences.changing(request.tenant) as stored:
        if stored.webhook_url:
            secret = preferences.save_settings(stored, renew_secret=True)
        audit.record("alerts.webhook_secret", tenant=request.tenant, request=request)
    return _page(request, SettingsForm(settings=stored), SeveritiesForm(), secret=secret)
