"""What a scan that ended means: incidents of workflows, and one message about all of it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Final

from alerts import incidents, links, telling
from alerts.message import MOST_ITEMS, Item, Message, fact
from alerts.models import Incident, Notification
from alerts.policy import Policy, policy_for
from alerts.rules.base import Verdict
from monitoring.words import Severity
from scheduling.models import Scan, ScannedWorkflow

FINDINGS: Final = "findings"
SCAN_FAILED: Final = "scan-failed"
RULE_TITLES: Final = {FINDINGS: "Critical findings or poor health", SCAN_FAILED: "Failed scan"}
POOR_HEALTH: Final = 50.0


@dataclass(slots=True)
class _News:
    """What a scan changed."""

    opened: list[Incident] = field(default_factory=list)
    open_before: list[Incident] = field(default_factory=list)
    resolved: list[Incident] = field(default_factory=list)


def settle(scan_id: int, now: dt.datetime) -> None:
    """Settle the incidents that a scan speaks of, and tell the scan once."""
    scan = Scan.objects.filter(pk=scan_id).first()
    if scan is None:
        return
    policy = policy_for()
    if scan.status == Scan.Status.FAILED:
        _settle_failed(scan, policy, now)
    elif scan.status == Scan.Status.COMPLETED:
        before = incidents.last_of(SCAN_FAILED, _subject(scan), now)
        if before is not None and not before.is_resolved:
            incidents.resolve(before, policy, now, why="The next scan completed.")
        _tell(scan, _settle_findings(scan, policy, now), policy, now)


def _subject(scan: Scan) -> str:
    return f"schedule:{scan.schedule_id}" if scan.schedule_id else "scans"


def _settle_failed(scan: Scan, policy: Policy, now: dt.datetime) -> None:
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


def _settle_findings(scan: Scan, policy: Policy, now: dt.datetime) -> _News:
    """Open, count and resolve the incidents of the workflows that were scanned, untold as yet."""
    scanned = scan.workflows.select_related("workflow__environment").order_by("workflow_id")
    before = {
        incident.workflow_id: incident
        for incident in Incident.objects.select_for_update(of=("self",))
        .unresolved()
        .filter(rule=FINDINGS)
        .select_related("workflow__environment")
        .order_by("workflow_id")
    }
    news = _News()
    for row in scanned.iterator(chunk_size=500):
        incident = before.get(row.workflow_id)
        if not _is_bad(row):
            if incident is not None and row.problem is None:
                why = "Nothing critical is left, and its health is not poor any more."
                incidents.resolve(incident, policy, now, why=why, quietly=True)
                news.resolved.append(incident)
            continue
        verdict = _verdict(row, incident, now)
        settled = incidents.settle_subject(
            FINDINGS,
            f"workflow:{row.workflow_id}",
            row.workflow,
            incident,
            verdict,
            policy,
            now,
            quietly=True,
        )
        assert settled is not None
        (news.open_before if incident else news.opened).append(settled)
    return news


def _is_bad(row: ScannedWorkflow) -> bool:
    return row.critical > 0 or _is_poor(row)


def _is_poor(row: ScannedWorkflow) -> bool:
    return row.health_score is not None and row.health_score < POOR_HEALTH


def _verdict(row: ScannedWorkflow, before: Incident | None, now: dt.datetime) -> Verdict:
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
        detail=f"{row.findings} findings in all.",
    )


# --- the one message ------------------------------------------------------------------------------


def _tell(scan: Scan, news: _News, policy: Policy, now: dt.datetime) -> None:
    """One message for a scan, however many incidents it opened or ended."""
    is_bad_news = any(not incident.suppressed for incident in news.opened)
    reason = _silence(policy, is_bad_news=is_bad_news)
    message = _message(scan, news, policy, now)
    if reason:
        Notification.objects.create(
            tenant=policy.tenant,
            kind=Notification.Kind.SCAN,
            state=Notification.State.SUPPRESSED,
            reason=reason,
            content=message.stored(),
            created_at=now,
        )
        return
    told = telling.send_to(telling.targets_of(policy), message, now)
    for incident in news.opened:
        incident.told_at, incident.told_count = now, incident.count
    Incident.objects.bulk_update(news.opened, ["told_at", "told_count"], batch_size=500)
    addresses = f"{len(told)} address{'es' if len(told) > 1 else ''}"
    telling.note_told(news.opened, f"In the message about the scan, to {addresses}.", now)


def _silence(policy: Policy, *, is_bad_news: bool) -> str:
    if not policy.settings.enabled:
        return "Alerts are switched off."
    if not policy.settings.alert_on_scan and not is_bad_news:
        return "Summaries of scans are switched off, and nothing critical is new."
    return "" if policy.addresses else "No mail address and no webhook is set."


def _message(scan: Scan, news: _News, policy: Policy, now: dt.datetime) -> Message:
    worst = [*news.opened, *news.open_before]
    slug = policy.tenant.slug
    facts = [
        fact("Workflows scanned", f"{scan.workflows_scanned:,}"),
        fact("Issues", f"{scan.issues_found:,}, {scan.critical_issues:,} of them critical"),
    ]
    if news.resolved:
        facts.append(
            fact(
                "Mended", f"{len(news.resolved):,} workflow{'s' if len(news.resolved) > 1 else ''}"
            )
        )
    return Message(
        kind=Notification.Kind.SCAN,
        tenant=policy.tenant.name,
        tenant_slug=slug,
        title=_title(news, worst),
        severity=(Severity.CRITICAL if news.opened else Severity.INFO).slug,
        url=links.scan_url(slug, scan.pk),
        at=now,
        facts=facts,
        items=[
            Item(each.title, each.level.slug, links.incident_url(slug, each.pk))
            for each in worst[:MOST_ITEMS]
        ],
        item_count=len(worst),
    )


def _title(news: _News, worst: list[Incident]) -> str:
    if not worst:
        return "Scan finished: nothing critical"
    noun = "workflow needs" if len(worst) == 1 else "workflows need"
    new = f", {len(news.opened):,} of them new" if news.open_before and news.opened else ""
    return f"Scan finished: {len(worst):,} {noun} a look{new}"
