"""What a scan that ended means: incidents of workflows, and one message about all of it.

It is settled in steps, so that thousands of incidents hold nobody up; the last step tells.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import Exists, F, OuterRef, QuerySet, Window
from django.db.models.functions import RowNumber

from alerts import incidents, links, telling
from alerts.message import MOST_ITEMS, Message, fact, item
from alerts.models import Incident, IncidentEvent, Notification, ScanNews
from alerts.models.incident import FINDINGS
from alerts.policy import Policy, policies_for, policy_for
from alerts.rules.base import Verdict
from monitoring.words import Severity
from scheduling.lint.engine import title_of_rule
from scheduling.models import Finding, Scan, ScannedWorkflow

SCAN_FAILED: Final = "scan-failed"
RULE_TITLES: Final = {FINDINGS: "Critical findings or poor health", SCAN_FAILED: "Failed scan"}
POOR_HEALTH: Final = 50.0

_AT_ONCE: Final = 200
_NAMED: Final = 3
# Steps of one tenant come one after the other: two scans may speak of the same workflows.
_TAKE_TURNS: Final = "SELECT pg_advisory_xact_lock(hashtextextended('scan news', %s))"

Address = tuple[str, str]


def settle_step(news: ScanNews, now: dt.datetime) -> bool:
    """Settle the next incidents that a scan speaks of, tell it at the end; say whether more is left.

    Call it in the transaction that ends the step's claim.
    """
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_TURNS, [news.tenant_id])
    scan = Scan.objects.filter(pk=news.scan_id).first()
    has_more = False
    if scan is not None and scan.status == Scan.Status.FAILED:
        _settle_failed(scan, policy_for(), now)
    elif scan is not None and scan.status == Scan.Status.COMPLETED:
        has_more = _settle_findings(scan, news, now)
        if not has_more:
            policy = policy_for()
            _end_failure(scan, policy, now)
            _tell(scan, news, policy, now)
    news.settled_at = None if has_more else now
    news.save(update_fields=["position", "opened", "known", "resolved", "settled_at"])
    return has_more


# --- scans that fail ------------------------------------------------------------------------------


def _subject(scan: Scan) -> str:
    return f"schedule:{scan.schedule_id}" if scan.schedule_id else "scans"


def _has_later(scan: Scan, status: Scan.Status) -> bool:
    """Whether a later scan of the same schedule (they run one after the other) ended so."""
    later = Scan.objects.filter(schedule=scan.schedule_id, id__gt=scan.pk)
    return later.filter(status=status).exists()


def _end_failure(scan: Scan, policy: Policy, now: dt.datetime) -> None:
    before = incidents.last_of(SCAN_FAILED, _subject(scan), now)
    if before is None or before.is_resolved or _has_later(scan, Scan.Status.FAILED):
        return
    incidents.resolve(before, policy, now, why="The next scan completed.")


def _settle_failed(scan: Scan, policy: Policy, now: dt.datetime) -> None:
    if _has_later(scan, Scan.Status.COMPLETED):
        return
    before = incidents.last_of(SCAN_FAILED, _subject(scan), now)
    name = f"“{scan.schedule.name}”" if scan.schedule else "of all workflows"
    verdict = Verdict(
        is_problem=True,
        severity=Severity.WARNING,
        count=before.count + 1 if before else 1,
        counted_from=before.counted_from if before and before.counted_from else now,
        last_at=now,
        title=f"The scan {name} failed",
        detail=scan.problem,
    )
    incidents.settle_subject(SCAN_FAILED, _subject(scan), None, before, verdict, policy, now)


# --- findings -------------------------------------------------------------------------------------


def _settle_findings(scan: Scan, news: ScanNews, now: dt.datetime) -> bool:
    """Open, count and resolve the incidents of the next workflows; say whether there are more.

    Nobody is told yet. A workflow that a later scan has looked at, too, is left to that.
    """
    rows = list(
        scan.workflows.filter(id__gt=news.position)
        .annotate(is_outdated=Exists(_later_looks()))
        .select_related("workflow__environment")
        .order_by("id")[:_AT_ONCE]
    )
    current = [row for row in rows if not row.is_outdated]
    worst = _worst_findings(scan, [row.workflow_id for row in current if _is_bad(row)])
    policies = policies_for(row.workflow_id for row in current)
    before = _unresolved(policies)
    settled = [
        _settle_row(
            row,
            before.get(row.workflow_id),
            policies[row.workflow_id],
            now,
            worst.get(row.workflow_id, []),
        )
        for row in current
    ]
    told = [incident for incident in settled if incident is not None and not incident.suppressed]
    opened = [each for each in told if not each.is_resolved and each.told_at is None]
    news.opened += [each.pk for each in opened]
    news.known += [each.pk for each in told if not each.is_resolved and each.told_at is not None]
    news.resolved += [each.pk for each in told if each.is_resolved]
    _mark_told(opened, policies, now)
    if rows:
        news.position = rows[-1].pk
    return len(rows) == _AT_ONCE


def _later_looks() -> QuerySet[ScannedWorkflow]:
    return ScannedWorkflow.objects.filter(
        workflow=OuterRef("workflow"), id__gt=OuterRef("id"), scan__status=Scan.Status.COMPLETED
    )


def _unresolved(workflow_ids: Iterable[int]) -> dict[int | None, Incident]:
    locked = Incident.objects.select_for_update(of=("self",)).unresolved()
    found = locked.filter(rule=FINDINGS, workflow_id__in=list(workflow_ids))
    rows = found.select_related("workflow__environment").order_by("workflow_id")
    return {incident.workflow_id: incident for incident in rows}


def _settle_row(
    row: ScannedWorkflow,
    before: Incident | None,
    policy: Policy,
    now: dt.datetime,
    worst: Sequence[str],
) -> Incident | None:
    """The workflow's incident that was opened, counted or resolved; None where nothing changed."""
    if not _is_bad(row):
        if before is None or row.problem is not None:
            return None
        why = "Nothing critical is left, and its health is not poor any more."
        incidents.resolve(before, policy, now, why=why, quietly=True)
        return before
    subject, verdict = f"workflow:{row.workflow_id}", _verdict(row, before, now, worst)
    incident = incidents.settle_subject(
        FINDINGS, subject, row.workflow, before, verdict, policy, now, quietly=True
    )
    assert incident is not None
    _follow_policy(incident, policy, now)
    return incident


def _follow_policy(incident: Incident, policy: Policy, now: dt.datetime) -> None:
    """Let what people want to hear of hold for an incident that was open before, too."""
    silence = policy.silence(incident.level)
    if silence == incident.suppressed:
        return
    incident.suppressed = silence
    incident.save(update_fields=["suppressed"])
    if silence:
        incidents.note(incident, IncidentEvent.Kind.SUPPRESSED, now, silence)


def _mark_told(opened: list[Incident], policies: dict[int, Policy], now: dt.datetime) -> None:
    """Count incidents as told: the message about the scan will name them, whatever dies before."""
    ids = [incident.pk for incident in opened]
    Incident.objects.filter(pk__in=ids).update(told_at=now, told_count=F("count"))
    by_number: dict[int, list[Incident]] = {}
    for incident in opened:
        assert incident.workflow_id is not None
        number = len(policies[incident.workflow_id].addresses)
        by_number.setdefault(number, []).append(incident)
    for number, told in by_number.items():
        addresses = f"{number} address{'es' if number > 1 else ''}"
        telling.note_told(told, f"In the message about the scan, to {addresses}.", now)


def _is_bad(row: ScannedWorkflow) -> bool:
    return row.critical > 0 or _is_poor(row)


def _is_poor(row: ScannedWorkflow) -> bool:
    return row.health_score is not None and row.health_score < POOR_HEALTH


def _worst_findings(scan: Scan, workflow_ids: Collection[int]) -> dict[int, list[str]]:
    """The worst few findings of workflows in words: what is wrong, and where."""
    place = Window(RowNumber(), partition_by="workflow_id", order_by=[F("severity").desc(), "pk"])
    found = Finding.objects.filter(scan=scan, workflow_id__in=workflow_ids)
    rows = found.annotate(place=place).filter(place__lte=_NAMED).order_by("workflow_id", "place")
    said: dict[int, list[str]] = {}
    for workflow_id, rule, node in rows.values_list("workflow_id", "rule", "node_name"):
        where = f" at “{node}”" if node else ""
        said.setdefault(workflow_id, []).append(f"{title_of_rule(rule)} ({rule}){where}")
    return said


def _verdict(
    row: ScannedWorkflow, before: Incident | None, now: dt.datetime, worst: Sequence[str]
) -> Verdict:
    parts = []
    if row.critical:
        parts.append(f"{row.critical} critical finding{'s' if row.critical > 1 else ''}")
    if _is_poor(row):
        parts.append(f"health {int(row.health_score or 0)} of 100")
    return Verdict(
        is_problem=True,
        severity=Severity.CRITICAL,
        count=before.count + 1 if before else 1,
        counted_from=before.counted_from if before and before.counted_from else now,
        last_at=now,
        title=f"{row.workflow.name}: {' and '.join(parts)}",
        detail=_detail(row.findings, worst),
    )


def _detail(findings: int, worst: Sequence[str]) -> str:
    others = findings - len(worst)
    more = [f"{others:,} more finding{'s' if others > 1 else ''}"] if others > 0 else []
    return "; ".join([*worst, *more]) + "." if worst or more else ""


# --- the one message ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Part:
    """What some addresses are told of a scan."""

    opened: list[Incident]
    known: list[Incident]
    resolved: list[Incident]

    def about(self, workflow_ids: Set[int | None]) -> _Part:
        """What of it is about some workflows."""
        return _Part(
            *(
                [incident for incident in each if incident.workflow_id in workflow_ids]
                for each in (self.opened, self.known, self.resolved)
            )
        )


def _tell(scan: Scan, news: ScanNews, policy: Policy, now: dt.datetime) -> None:
    """One message to each address, however many incidents the scan opened or ended."""
    whole = _gathered(news)
    wants_summary = policy.settings.enabled and policy.settings.alert_on_scan
    told = [
        (audience, part)
        for audience, part in _parts(whole, policy)
        if part.opened or (wants_summary and audience <= set(policy.addresses))
    ]
    # All in one go: targets are locked in one order.
    telling.targets_at(policy.tenant, {each for audience, _ in told for each in audience})
    for audience, part in told:
        targets = telling.targets_at(policy.tenant, audience)
        telling.send_to(targets, _message(scan, part, policy, now), now)
    if not told:
        Notification.objects.create(
            tenant=policy.tenant,
            kind=Notification.Kind.SCAN,
            state=Notification.State.SUPPRESSED,
            reason=_silence(policy),
            content=_message(scan, whole, policy, now).stored(),
            created_at=now,
        )


def _gathered(news: ScanNews) -> _Part:
    lists = (news.opened, news.known, news.resolved)
    found = Incident.objects.in_bulk([pk for each in lists for pk in each])
    return _Part(*([found[pk] for pk in each if pk in found] for each in lists))


def _parts(whole: _Part, policy: Policy) -> Iterator[tuple[Set[Address], _Part]]:
    """Addresses that hear of the same workflows, and what they are told.

    A workflow with addresses of its own is told to those instead of the tenant's, which come with
    a part even when nothing is in it.
    """
    spoken_of = {each.workflow_id for each in (*whole.opened, *whole.known, *whole.resolved)}
    heard_by: dict[Address, set[int | None]] = {address: set() for address in policy.addresses}
    for workflow_id, own in policies_for(pk for pk in spoken_of if pk is not None).items():
        for address in own.addresses:
            heard_by.setdefault(address, set()).add(workflow_id)
    tenants = set(policy.addresses)
    alike: dict[tuple[bool, frozenset[int | None]], set[Address]] = {}
    for address, workflow_ids in heard_by.items():
        alike.setdefault((address in tenants, frozenset(workflow_ids)), set()).add(address)
    for (_, heard), audience in alike.items():
        yield audience, whole.about(heard)


def _silence(policy: Policy) -> str:
    if not policy.settings.enabled:
        return "Alerts are switched off."
    if not policy.settings.alert_on_scan:
        return "Summaries of scans are switched off, and nothing critical is new."
    return "No mail address and no webhook is set."


def _message(scan: Scan, part: _Part, policy: Policy, now: dt.datetime) -> Message:
    worst = [*part.opened, *part.known]
    slug = policy.tenant.slug
    facts = [
        fact("Workflows scanned", f"{scan.workflows_scanned:,}"),
        fact("Issues", f"{scan.issues_found:,}, {scan.critical_issues:,} of them critical"),
    ]
    if part.resolved:
        mended = len(part.resolved)
        facts.append(fact("Mended", f"{mended:,} workflow{'s' if mended > 1 else ''}"))
    return Message(
        kind=Notification.Kind.SCAN,
        tenant=policy.tenant.name,
        tenant_slug=slug,
        title=_title(scan, part, worst),
        severity=(Severity.CRITICAL if part.opened else Severity.INFO).slug,
        url=links.scan_url(slug, scan.pk),
        at=now,
        facts=facts,
        items=[
            item(each.title, each.level.slug, links.incident_url(slug, each.pk), each.detail)
            for each in worst[:MOST_ITEMS]
        ],
        item_count=len(worst),
    )


def _title(scan: Scan, part: _Part, worst: list[Incident]) -> str:
    if not worst:
        critical = scan.critical_issues
        said = f"{critical:,} critical issue{'s' if critical > 1 else ''}"
        return f"Scan finished: {said if critical else 'nothing critical'}"
    noun = "workflow needs" if len(worst) == 1 else "workflows need"
    new = f", {len(part.opened):,} of them new" if part.known and part.opened else ""
    return f"Scan finished: {len(worst):,} {noun} a look{new}"
