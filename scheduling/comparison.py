"""Two scans side by side: what is new, fixed or persists, what was not looked at before, health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.models import Exists, F, OuterRef, QuerySet
from django.db.models.functions import Coalesce

from scheduling.models import Finding, Scan, ScannedWorkflow

# Stands for a health that is not known: it equals itself, and no health.
_UNKNOWN: Final = -1.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Findings and workflows as querysets, so that callers page through them.

    `new`, `first_seen` and `persisting` are findings of the later scan, `fixed` of the earlier one.
    What one of them did not look into (the workflow was not in its scope, had no definition, or
    one that could not be linted) is neither new nor fixed: `first_seen` are findings of workflows
    that only the later one looked into. `changed` is about workflows that both looked at.
    """

    new: QuerySet[Finding]
    first_seen: QuerySet[Finding]
    fixed: QuerySet[Finding]
    persisting: QuerySet[Finding]
    changed: QuerySet[ScannedWorkflow]


def difference(earlier: Scan, later: Scan, environment_id: int | None = None) -> Difference:
    """Compare two scans of one tenant (and environment), by the findings' fingerprints."""
    place = {} if environment_id is None else {"workflow__environment_id": environment_id}
    of_later = Finding.objects.filter(scan=later, **place)
    in_earlier, was_looked_into = Exists(_same(earlier)), Exists(_looked_into(earlier))
    return Difference(
        new=of_later.filter(~in_earlier, was_looked_into),
        first_seen=of_later.filter(~was_looked_into),
        fixed=Finding.objects.filter(
            ~Exists(_same(later)), Exists(_looked_into(later)), scan=earlier, **place
        ),
        persisting=of_later.filter(in_earlier),
        changed=_changed(earlier, later).filter(**place),
    )


def _same(scan: Scan) -> QuerySet[Finding]:
    return Finding.objects.filter(
        scan=scan, workflow=OuterRef("workflow"), fingerprint=OuterRef("fingerprint")
    )


def _looks_at(scan: Scan) -> QuerySet[ScannedWorkflow]:
    return ScannedWorkflow.objects.filter(scan=scan, workflow=OuterRef("workflow"))


def _looked_into(scan: Scan) -> QuerySet[ScannedWorkflow]:
    return _looks_at(scan).filter(structure_score__isnull=False)


def _changed(earlier: Scan, later: Scan) -> QuerySet[ScannedWorkflow]:
    """The later looks at workflows whose health differs, with `health_before`."""
    before = _looks_at(earlier)
    return (
        ScannedWorkflow.objects.filter(Exists(before), scan=later)
        .annotate(health_before=before.values("health_score")[:1])
        .alias(now=Coalesce("health_score", _UNKNOWN), then=Coalesce("health_before", _UNKNOWN))
        .exclude(now=F("then"))
    )
