"""The delivery log: every message, to whom, how often it was tried, what came back."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from alerts import actions
from alerts.channels.registry import channels
from alerts.models import Notification
from alerts.pages.inbox import number
from alerts.pages.labels import delivery_of
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part

PAGE_SIZE: Final = 50
_STATES: Final = {str(state): str(state.label) for state in Notification.State}


@tenant_member(Role.OPERATOR)
@require_safe
def delivery_log(request: TenantRequest, slug: str) -> HttpResponse:
    """Messages, the newest first; `state`, `channel` and `before` are in the address."""
    found = list(_asked(request)[: PAGE_SIZE + 1])
    older = found[PAGE_SIZE - 1].pk if len(found) > PAGE_SIZE else None
    context = {
        "rows": [delivery_of(each, slug) for each in found[:PAGE_SIZE]],
        "older": older,
        "states": _STATES,
        "channels": {each.slug: each.title for each in channels().values()},
        "is_narrowed": bool(request.GET),
        "back": request.get_full_path(),
    }
    return render_part(request, "alerts/deliveries.html", context, {"list": "list_part"})


def _asked(request: TenantRequest) -> QuerySet[Notification]:
    found = Notification.objects.select_related("target").prefetch_related("attempts")
    state, channel = request.GET.get("state", ""), request.GET.get("channel", "")
    if state in _STATES:
        found = found.filter(state=state)
    if channel in channels():
        found = found.filter(target__channel=channel)
    if before := number(request.GET.get("before", "")):
        found = found.filter(pk__lt=before)
    return found.order_by("-id")


@tenant_member(Role.OPERATOR)
@require_POST
def send_again(request: TenantRequest, slug: str, notification_id: int) -> HttpResponse:
    """Send a message once more, with the same id."""
    try:
        is_sent = _send_again(request, notification_id)
    except Notification.DoesNotExist:
        raise Http404 from None
    except actions.NotNamedError:
        messages.error(request, "Not sent: the settings name this address no more.")
        return redirect("alerts:deliveries", slug)
    if is_sent:
        messages.success(request, "It is sent again.")
    else:
        messages.warning(request, "It waits to be sent already.")
    return redirect("alerts:deliveries", slug)


def _send_again(request: TenantRequest, notification_id: int) -> bool:
    with transaction.atomic():
        notification = actions.redeliver(notification_id)
        if notification is None:
            return False
        audit.record(
            "alerts.send_again",
            tenant=request.tenant,
            request=request,
            subject=str(notification.key),
        )
        return True
