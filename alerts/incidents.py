"""The life of an incident: opened, counted, told, acknowledged, resolved, opened again.

Everything here runs inside a transaction of its caller, so that an incident and what is told of it
are stored together.
"""

from __future__ import annotations

import datetime as dt

from alerts import telling
from alerts.models import Incident, IncidentEvent, Notification
from alerts.policy import Policy
from alerts.rules.base import Verdict
from monitoring.models import Workflow
from monitoring.words import Severity
from tenants.models import User

_Event = IncidentEvent.Kind
_Kind = Notification.Kind


def last_of(rule: str, subject: str, since: dt.datetime) -> Incident | None:
    """The incident that is unresolved, or else the newest that was resolved after `since`."""
    found = Incident.objects.select_for_update(of=("self",)).select_related("workflow")
    of_subject = found.filter(rule=rule, subject=subject)
    return (
        of_subject.unresolved().first()
        or of_subject.filter(resolved_at__gt=since).order_by("-resolved_at").first()
    )


def settle_subject(
    rule: str,
    subject: str,
    workflow: Workflow | None,
    before: Incident | None,
    verdict: Verdict,
    policy: Policy,
    now: dt.datetime,
    *,
    quietly: bool = False,
) -> Incident | None:
    """Bring a subject's incident in line with a verdict; return it where there is one.

    `before` is what `last_of` found. With `quietly` the caller tells what is new.
    """
    if before is None:
        return open_incident(rule, subject, verdict, policy, now, workflow, quietly=quietly)
    if before.is_resolved:
        if verdict.is_problem and verdict.count > before.count:
            _reopen(before, verdict, policy, now)
        return before
    if verdict.why_over:
        _take(before, verdict)
        resolve(before, policy, now, why=verdict.why_over)
    else:
        _go_on(before, verdict, policy, now, quietly=quietly)
    return before


def open_incident(
    rule: str,
    subject: str,
    verdict: Verdict,
    policy: Policy,
    now: dt.datetime,
    workflow: Workflow | None,
    *,
    quietly: bool = False,
) -> Incident | None:
    """Store a new incident and tell of it (`quietly`: the caller tells); None without a problem."""
    if not verdict.is_problem:
        return None
    incident = Incident(
        tenant=policy.tenant,
        rule=rule,
        subject=subject,
        workflow=workflow,
        counted_from=verdict.counted_from,
        opened_at=now,
    )
    _take(incident, verdict)
    incident.suppressed = policy.silence(incident.level)
    incident.save()
    note(incident, _Event.OPENED, now, incident.detail)
    if not quietly:
        _tell(incident, _Kind.OPENED, policy, now)
    return incident


def _reopen(incident: Incident, verdict: Verdict, policy: Policy, now: dt.datetime) -> None:
    incident.status = Incident.Status.OPEN
    incident.resolved_at, incident.resolved_by = None, ""
    incident.acknowledged_at, incident.acknowledged_by = None, ""
    _take(incident, verdict)
    note(incident, _Event.REOPENED, now, incident.detail)
    _tell_of_news(incident, policy, now, _Kind.REOPENED, worse=False)
    incident.save()


def _go_on(
    incident: Incident, verdict: Verdict, policy: Policy, now: dt.datetime, *, quietly: bool
) -> None:
    worse = verdict.severity > incident.level
    _take(incident, verdict)
    if worse:
        note(incident, _Event.WORSE, now, f"Now {incident.level.slug}.")
    if not quietly:
        _tell_of_news(incident, policy, now, _Kind.REPEATED, worse=worse)
    incident.save()


def _take(incident: Incident, verdict: Verdict) -> None:
    """Take over what the verdict says; an open incident never gets milder."""
    incident.count = verdict.count
    incident.severity = max(Severity(incident.severity or verdict.severity), verdict.severity)
    incident.last_at = verdict.last_at
    incident.title = verdict.title
    incident.detail = verdict.detail or incident.detail


def _tell_of_news(
    incident: Incident, policy: Policy, now: dt.datetime, kind: Notification.Kind, *, worse: bool
) -> None:
    """Tell what is due to be told: the first time, when it got worse, else once in an interval."""
    silence = policy.silence(incident.level)
    if silence != incident.suppressed:
        incident.suppressed = silence
        if silence:
            note(incident, _Event.SUPPRESSED, now, silence)
    if silence:
        return
    if incident.told_at is None:
        _tell(incident, _Kind.OPENED, policy, now)
    elif worse:
        _tell(incident, _Kind.WORSE, policy, now)
    elif _wants_repeat(incident) and now >= incident.told_at + policy.settings.repeat_after:
        _tell(incident, kind, policy, now)


def _wants_repeat(incident: Incident) -> bool:
    return incident.status == Incident.Status.OPEN and incident.count > incident.told_count


def look_again_at(
    incident: Incident, verdict: Verdict, policy: Policy, now: dt.datetime
) -> dt.datetime | None:
    """When time alone changes something about an unresolved incident."""
    times = [verdict.look_again_at] if verdict.look_again_at else []
    if not incident.suppressed and incident.told_at and _wants_repeat(incident):
        times.append(incident.told_at + policy.settings.repeat_after)
    if verdict.why_over:
        times.append(now)
    return min(times, default=None)


def _tell(incident: Incident, kind: Notification.Kind, policy: Policy, now: dt.datetime) -> None:
    if not incident.suppressed:
        incident.told_at, incident.told_count = now, incident.count
    telling.tell(incident, kind, policy, now)
    incident.save()


def note(
    incident: Incident,
    kind: IncidentEvent.Kind,
    at: dt.datetime,
    text: str = "",
    *,
    by: str = "",
    user: User | None = None,
) -> None:
    """Add a line to the timeline."""
    IncidentEvent.objects.create(
        tenant_id=incident.tenant_id,
        incident=incident,
        at=at,
        kind=kind,
        text=text,
        by=by,
        user=user,
    )


# --- what people do ------------------------------------------------------------------------------


def resolve(
    incident: Incident,
    policy: Policy,
    now: dt.datetime,
    *,
    why: str = "",
    by: str = "",
    user: User | None = None,
    quietly: bool = False,
) -> None:
    """Close an incident; those who were told of it are told that it is over."""
    incident.status = Incident.Status.RESOLVED
    incident.resolved_at, incident.resolved_by = now, by
    incident.save()
    note(incident, _Event.RESOLVED, now, why, by=by, user=user)
    if not quietly:
        telling.tell_recovery(incident, policy, now, why or f"Resolved by {by}.")


def acknowledge(
    incident: Incident, now: dt.datetime, *, by: str, user: User | None = None, text: str = ""
) -> bool:
    """Say that somebody takes care: no more repeats. False when it was acknowledged or resolved."""
    if incident.status not in (Incident.Status.OPEN, Incident.Status.SNOOZED):
        return False
    incident.status = Incident.Status.ACKNOWLEDGED
    incident.acknowledged_at, incident.acknowledged_by = now, by
    incident.save()
    note(incident, _Event.ACKNOWLEDGED, now, text, by=by, user=user)
    return True
