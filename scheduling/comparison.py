"""Two scans side by side: what is new, what was fixed, what persists, whose health changed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Exists, F, OuterRef, QuerySet

from scheduling.models import Finding, Scan, ScannedWorkflow


@dataclass(frozen=True, slots=True)
class Difference:
    """Findings and workflows as querysets, so that callers page through them.

    `new` and `persisting` are findings of the later scan, `fixed` of the earlier one. A finding of
    a workflow that the later scan did not look at is not fixed.
    """

    new: QuerySet[Finding]
    fixed: QuerySet[Finding]
    persisting: QuerySet[Finding]
    changed: QuerySet[ScannedWorkflow]


def difference(earlier: Scan, later: Scan, environment_id: int | None = None) -> Difference:
    """Compare two scans of one tenant (and environment), by the findings' fingerprints."""
    place = {} if environment_id is None else {"workflow__environment_id": environment_id}
    in_earlier = Exists(_same(earlier))
    looked_at_later = ScannedWorkflow.objects.filter(scan=later, workflow=OuterRef("workflow"))
    before = ScannedWorkflow.objects.filter(scan=earlier, workflow=OuterRef("workflow"))
    return Difference(
        new=Finding.objects.filter(~in_earlier, scan=later, **place),
        fixed=Finding.objects.filter(
            ~Exists(_same(later)), Exists(looked_at_later), scan=earlier, **place
        ),
        persisting=Finding.objects.filter(in_earlier, scan=later, **place),
        changed=ScannedWorkflow.objects.filter(scan=later, **place)
        .annotate(health_before=before.values("health_score")[:1])
        .exclude(health_score=F("health_before")),
    )


def _same(scan: Scan) -> QuerySet[Finding]:
    return Finding.objects.filter(
        scan=scan, workflow=OuterRef("workflow"), fingerprint=OuterRef("fingerprint")
    )
