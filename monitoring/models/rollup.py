"""Numbers by time bucket, so that no page reads the history.

A stored chunk appends one delta for each (workflow, 5-minute bucket) that it touched; the worker
folds deltas into rollups of every level. Questions (`monitoring.metrics`) read both in one
statement, so they are exact at any moment.
"""

from __future__ import annotations

import datetime as dt
import enum

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class Level(enum.IntEnum):
    """Length of a bucket."""

    FIVE_MINUTES = 0
    HOUR = 1
    DAY = 2

    @property
    def length(self) -> dt.timedelta:
        return LENGTH_OF_LEVEL[self]


LENGTH_OF_LEVEL = {
    Level.FIVE_MINUTES: dt.timedelta(minutes=5),
    Level.HOUR: dt.timedelta(hours=1),
    Level.DAY: dt.timedelta(days=1),
}


class Subject(enum.IntEnum):
    """What a rollup is about; its id is the tenant's, environment's or workflow's."""

    TENANT = 0
    ENVIRONMENT = 1
    WORKFLOW = 2


def counters() -> ArrayField[list[int], list[int]]:
    """An array of counts; index = Status (8 places) or ErrorClass (10 places)."""
    return ArrayField(models.BigIntegerField())


class Rollup(models.Model):
    """Counts of one subject in one bucket.

    `counts`, `duration_sums` (ms) and `duration_counts` are by Status, `error_classes` by
    ErrorClass; `histogram` is a packed `counting.histogram.Histogram` of the durations of
    success, failed and partial executions. Before a tenant's seal (`models.retention`) raw rows are gone.
    """

    pk = models.CompositePrimaryKey("tenant_id", "subject_kind", "subject_id", "level", "bucket")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    subject_kind = models.SmallIntegerField(choices=[(s.value, s.name.lower()) for s in Subject])
    subject_id = models.BigIntegerField()
    level = models.SmallIntegerField(choices=[(v.value, v.name.lower()) for v in Level])
    bucket = models.DateTimeField()
    counts = counters()
    duration_sums = counters()
    duration_counts = counters()
    error_classes = counters()
    histogram = models.BinaryField()

    objects = TenantManager["Rollup"]()

    class Meta:
        db_table = "monitoring_rollup"

    def __str__(self) -> str:
        return f"{Subject(self.subject_kind).name.lower()} {self.subject_id} at {self.bucket}"


class NodeLine(models.Model):
    """A node that has numbers of its own; those of a workflow's nodes without one share a line.

    Written by the fold only, and never taken back while the workflow has numbers: what was counted
    in a line must be subtracted there.
    """

    pk = models.CompositePrimaryKey("tenant_id", "workflow_id", "node_id")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    workflow_id = models.BigIntegerField()
    node_id = models.TextField()

    objects = TenantManager["NodeLine"]()

    class Meta:
        db_table = "monitoring_nodeline"

    def __str__(self) -> str:
        return f"{self.node_id} of workflow {self.workflow_id}"


class NodeRollup(models.Model):
    """Counts of one node of one workflow in one bucket (hours and days only)."""

    pk = models.CompositePrimaryKey("tenant_id", "workflow_id", "level", "bucket", "node_id")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    workflow_id = models.BigIntegerField()
    level = models.SmallIntegerField(choices=[(v.value, v.name.lower()) for v in Level])
    bucket = models.DateTimeField()
    node_id = models.TextField()
    counts = counters()
    duration_sum = models.DecimalField(max_digits=30, decimal_places=0)
    duration_count = models.BigIntegerField()
    histogram = models.BinaryField()

    objects = TenantManager["NodeRollup"]()

    class Meta:
        db_table = "monitoring_noderollup"

    def __str__(self) -> str:
        return f"{self.node_id} at {self.bucket}"


class RollupDelta(models.Model):
    """What one stored chunk changed in one 5-minute bucket of one workflow; not folded yet.

    `nodes` is JSON: {node id: [counts by Status, duration sum, duration count, {slot: count}]}.
    `workflow_name` with its order key is the newest name that the chunk brought.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    environment_id = models.BigIntegerField()
    workflow_id = models.BigIntegerField()
    bucket = models.DateTimeField()
    counts = counters()
    duration_sums = counters()
    duration_counts = counters()
    error_classes = counters()
    histogram = models.BinaryField()
    nodes = models.BinaryField()
    workflow_name = models.TextField(null=True)
    workflow_name_key = models.BinaryField(null=True)
    last_executed_at = models.DateTimeField(null=True)

    objects = TenantManager["RollupDelta"]()

    class Meta:
        db_table = "monitoring_rollupdelta"

    def __str__(self) -> str:
        return f"workflow {self.workflow_id} at {self.bucket}"
