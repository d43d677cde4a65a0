"""The life of an incident: opened, counted, told, acknowledged, resolved, opened again.

Everything here runs inside a transaction of its caller, so that an incident and what is told of it
are stored together.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from alerts import telling
from alerts.models import Incident, IncidentEvent, Notification
from alerts.models.incident import FINDINGS
from alerts.policy import Policy
from alerts.rules.base import Verdict
from monitoring.models import Workflow
from monitoring.words import Severity
from tenants.models import User

_Event = IncidentEvent.Kind
_Kind = Notification.Kind

SHORTEST_REOPENING: Final = 300.0
"""Seconds from one message that it is a problem to the one that it is a problem again."""


@dataclass(frozen=True, slots=True)
class Known:
    """The incidents of workflows that are looked at, locked."""

    incidents: Sequence[Incident]

    def last(self, rule: str, subject: str) -> Incident | None:
        """The one that is unresolved, or else the newest."""
        found = [each for each in self.incidents if (each.rule, each.subject) == (rule, subject)]
        return max(found, key=_how_new, default=None)

    def kept_back(self, workflow_id: int) -> list[Incident]:
        """Those about a workflow's findings of which nobody was told."""
        return [
            each
            for each in self.incidents
            if each.workflow_id == workflow_id and each.rule == FINDINGS and each.suppressed
        ]


def _how_new(incident: Incident) -> tuple[bool, dt.datetime, int]:
    return not incident.is_resolved, incident.resolved_at or incident.opened_at, incident.pk


def lock_known(workflow_ids: Collection[int], since: dt.datetime) -> Known:
    """Lock what looks at workflows may change: what is unresolved, or was resolved after `since`.

    Before any target is locked, and in the order in which scans lock what they say.
    """
    found = Incident.objects.select_for_update(of=("self",)).filter(workflow__in=workflow_ids)
    of_rules = found.unresolved() | found.filter(resolved_at__gt=since)
    wanted = of_rules.exclude(rule=FINDINGS) | found.unresolved().filter(rule=FINDINGS).exclude(
        suppressed=""
    )
    rows = wanted.select_related("workflow__environment").order_by("workflow_id", "pk")
    return Known(list(rows))


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
    if not _tell_of_news(incident, policy, now, worse=False):
        telling.write_down(incident, _Kind.REOPENED, policy, now, _why_not_now(incident, policy))
    incident.save()


def _go_on(
    incident: Incident, verdict: Verdict, policy: Policy, now: dt.datetime, *, quietly: bool
) -> None:
    worse = verdict.severity > incident.level
    _take(incident, verdict)
    if worse:
        note(incident, _Event.WORSE, now, f"Now {incident.level.slug}.")
    if not quietly:
        _tell_of_news(incident, policy, now, worse=worse)
    incident.save()


def _take(incident: Incident, verdict: Verdict) -> None:
    """Take over what the verdict says; an open incident never gets milder."""
    incident.count = verdict.count
    incident.severity = max(Severity(incident.severity or verdict.severity), verdict.severity)
    incident.last_at = verdict.last_at
    incident.first_at = verdict.first_at or incident.first_at
    incident.title = verdict.title
    incident.detail = verdict.detail or incident.detail


def _tell_of_news(incident: Incident, policy: Policy, now: dt.datetime, *, worse: bool) -> bool:
    """Tell what is due to be told: the first time, when it got worse, else once in an interval.

    False when nothing is told.
    """
    silence = policy.silence(incident.level)
    if silence != incident.suppressed:
        incident.suppressed = silence
        if silence:
            note(incident, _Event.SUPPRESSED, now, silence)
    if silence:
        return False
    next_at = next_telling_at(incident, policy)
    if incident.told_at is None:
        _tell(incident, _Kind.OPENED, policy, now)
    elif worse:
        _tell(incident, _Kind.WORSE, policy, now)
    elif next_at is not None and now >= next_at:
        kind = _Kind.REOPENED if incident.told_over else _Kind.REPEATED
        _tell(incident, kind, policy, now)
    else:
        return False
    return True


def next_telling_at(incident: Incident, policy: Policy) -> dt.datetime | None:
    """When news of an incident that was told before may be told again; None: there is none.

    Who heard that it is over hears soon that it is not: the interval is for what people know.
    """
    has_news = incident.status == Incident.Status.OPEN and incident.count > incident.told_count
    if incident.told_at is None or incident.suppressed or not has_news:
        return None
    pause = policy.settings.repeat_after
    if incident.told_over:
        pause = min(pause, dt.timedelta(seconds=settings.PACE.seconds(SHORTEST_REOPENING)))
    return incident.told_at + pause


def _why_not_now(incident: Incident, policy: Policy) -> str:
    next_at = next_telling_at(incident, policy)
    if next_at is None:
        return incident.suppressed
    return (
        f"People heard of it a short time before: told at {next_at.astimezone(dt.UTC):%H:%M:%S} UTC "
        "if it is still open then."
    )


def tell_kept_back(found: Sequence[Incident], policy: Policy, now: dt.datetime) -> None:
    """Tell of what was kept back as soon as somebody wants to know, without the next scan."""
    for incident in found:
        silence = policy.silence(incident.level)
        if silence == incident.suppressed:
            continue
        incident.suppressed = silence
        if not silence and incident.told_at is None and incident.status == Incident.Status.OPEN:
            _tell(incident, _Kind.OPENED, policy, now)
        incident.save()


def look_again_at(
    incident: Incident, verdict: Verdict, policy: Policy, now: dt.datetime
) -> dt.datetime | None:
    """When time alone changes something about an unresolved incident."""
    times = [verdict.look_again_at] if verdict.look_again_at else []
    next_at = next_telling_at(incident, policy)
    if next_at is not None:
        times.append(next_at)
    if verdict.why_over:
        times.append(now)
    return min(times, default=None)


def _tell(incident: Incident, kind: Notification.Kind, policy: Policy, now: dt.datetime) -> None:
    if not incident.suppressed:
        incident.told_at, incident.told_count, incident.told_over = now, incident.count, False
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
    note(incident, _Event.RESOLVED, now, why, by=by, user=user)
    if not quietly and telling.tell_recovery(incident, policy, now, why or f"Resolved by {by}."):
        incident.told_over = True
    incident.save()


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
