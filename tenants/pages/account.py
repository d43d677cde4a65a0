"""The person's own page: name, zone, theme, density, sessions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from tenants import audit
from tenants.access import PersonRequest, signed_in
from tenants.browsers import browser_in_words
from tenants.forms import AccountForm, save_changed
from tenants.models import Session, Theme, User
from tenants.sessions import ABSOLUTE_LIMIT, idle_limit
from tenants.sign_in import end_other_sessions
from tenants.zones import offered_zones


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as its person sees it; the handle names it without being the key to it."""

    handle: str
    session: Session
    is_this: bool

    @property
    def browser(self) -> str:
        """The browser in words."""
        return browser_in_words(self.session.user_agent)


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: PersonRequest) -> HttpResponse:
    """Show and store how the person wants to see Flowwatch; list where they are signed in."""
    # A copy, so that a refused value does not show in the page's frame.
    form = AccountForm(request.POST or None, instance=User.objects.get(pk=request.user.pk))
    if request.method == "POST" and form.is_valid():
        save_changed(form)
        messages.success(request, "Saved.")
        return redirect("account")
    context = {
        "form": form,
        "zones": offered_zones(),
        "sessions": _sessions(request),
        "idle_days": idle_limit().days,
        "absolute_days": ABSOLUTE_LIMIT.days,
    }
    return render(request, "tenants/account.html", context)


@signed_in
@require_POST
def account_theme(request: PersonRequest) -> HttpResponse:
    """Store the theme that the switch in the menu chose."""
    theme = request.POST.get("theme", "")
    if theme not in Theme.values:
        return HttpResponse(status=400)
    User.objects.filter(pk=request.user.pk).update(theme=theme)
    return HttpResponse(status=204)


@signed_in
@require_POST
def session_end(request: PersonRequest) -> HttpResponse:
    """End one other session, or all others."""
    if request.POST.get("all"):
        ended = end_other_sessions(request.user, request.session.session_key)
    else:
        handle = request.POST.get("session", "")
        keys = [r.session.session_key for r in _sessions(request) if r.handle == handle]
        ended = Session.objects.filter(user=request.user, session_key__in=keys).delete()[0]
    if ended:
        audit.record(
            "session.end", tenant=None, request=request, subject=request.user.email, count=ended
        )
    messages.success(request, _ended_in_words(ended))
    return redirect("account")


def _ended_in_words(ended: int) -> str:
    if not ended:
        return "The session had ended already."
    return "The session was ended." if ended == 1 else f"{ended} sessions were ended."


def _sessions(request: PersonRequest) -> list[SessionRow]:
    """Return the person's living sessions, this one first, then the latest used."""
    living = Session.objects.filter(user=request.user, expire_date__gt=timezone.now())
    rows = [
        SessionRow(
            handle=hashlib.sha256(session.session_key.encode()).hexdigest()[:32],
            session=session,
            is_this=session.session_key == request.session.session_key,
        )
        for session in living.order_by("-last_seen_at")[:100]
    ]
    return sorted(rows, key=lambda row: not row.is_this)
