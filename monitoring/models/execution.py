"""Executions and their nodes: the big, partitioned tables.

Both are range-partitioned by week over our id, a UUIDv7 whose time is the first known start (see
`monitoring.ids`). In the database their primary keys begin with `tenant_id`; Django's model says
`id`, because a composite key can be neither in the admin nor a foreign key's target. There are no
foreign keys: they would forbid dropping a partition. Only `recording.store` writes these tables.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from typing import Final

from django.db import models
from django.db.models.functions import Left

from monitoring.ids import time_of, uuid_floor
from monitoring.models.environment import Environment
from monitoring.models.workflow import Workflow
from monitoring.words import ErrorClass, Severity, Status
from tenants.models import Tenant
from tenants.scoping import TenantManager

REASON_LENGTH: Final = 300
"""Characters of an error's message that lists show."""


class ExecutionQuerySet(models.QuerySet["Execution"]):
    """Questions about executions; every one is served by an index or bounded by its caller."""

    def newest_first(self) -> ExecutionQuerySet:
        return self.order_by("-id")

    def with_status(self, statuses: Collection[Status]) -> ExecutionQuerySet:
        return self.filter(status__in=list(statuses))

    def started_between(
        self, start: dt.datetime | None, end: dt.datetime | None
    ) -> ExecutionQuerySet:
        """Executions whose time (that of their id) lies in [start, end)."""
        found = self
        if start is not None:
            found = found.filter(id__gte=uuid_floor(start))
        if end is not None:
            found = found.filter(id__lt=uuid_floor(end))
        return found

    def without_payload(self) -> ExecutionQuerySet:
        """Leave out the compressed payload, which lists never show."""
        return self.defer("payload", "order_keys")

    def with_reason(self) -> ExecutionQuerySet:
        """Add `reason`, the beginning of the error's message, which may be long."""
        return self.annotate(reason=Left("error_message", REASON_LENGTH))


class Execution(models.Model):
    """One run of a workflow.

    `id`'s time is the first known start and the time axis of lists, ranges and buckets. `started_at`
    is what the sender said last about the start, null when it never said. Durations are integer
    milliseconds. `error_message`, `error_node_id` and `error_node_name` hold what a list shows; stack,
    trigger data, raw log, result and the nodes' inputs and outputs are in `payload` (`recording.payload`).
    """

    id = models.UUIDField(primary_key=True)
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    environment = models.ForeignKey(
        Environment, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    workflow = models.ForeignKey(
        Workflow,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="executions",
    )
    external_id = models.TextField(null=True)
    status = models.SmallIntegerField(choices=[(s.value, s.slug) for s in Status])
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(null=True)
    duration_ms = models.BigIntegerField(null=True)
    trigger_type = models.TextField(null=True)
    attempt = models.IntegerField(null=True)
    retry_of = models.TextField(null=True)
    parent_execution_id = models.TextField(null=True)
    parent_node_id = models.TextField(null=True)
    version = models.TextField(null=True)
    tags = models.JSONField(null=True)
    keys = models.JSONField(null=True)
    error_message = models.TextField(null=True)
    error_node_id = models.TextField(null=True)
    error_node_name = models.TextField(null=True)
    error_class = models.SmallIntegerField(
        null=True, choices=[(c.value, c.slug) for c in ErrorClass]
    )
    severity = models.SmallIntegerField(null=True, choices=[(s.value, s.slug) for s in Severity])
    fingerprint = models.BinaryField(null=True)
    node_count = models.IntegerField(default=0)
    node_done_count = models.IntegerField(default=0)
    heartbeat_seconds = models.IntegerField(null=True)
    lost_contact_at = models.DateTimeField(null=True)
    received_at = models.DateTimeField()
    changed_at = models.DateTimeField()
    order_keys = models.BinaryField()
    payload = models.BinaryField(null=True)

    objects = TenantManager.from_queryset(ExecutionQuerySet)()

    class Meta:
        db_table = "monitoring_execution"

    def __str__(self) -> str:
        return self.external_id or str(self.id)

    @property
    def state(self) -> Status:
        return Status(self.status)

    @property
    def started(self) -> dt.datetime:
        """When it started: what the sender says, else the time of its id."""
        return self.started_at or time_of(self.id)


class NodeExecutionQuerySet(models.QuerySet["NodeExecution"]):
    """Questions about nodes; the caller says of which executions."""

    def in_order(self) -> NodeExecutionQuerySet:
        """The nodes of an execution as they ran: by the sender's order, then by time."""
        return self.order_by(
            models.F("position").asc(nulls_last=True),
            models.F("started_at").asc(nulls_last=True),
            "node_id",
            "run_index",
        )

    def with_reason(self) -> NodeExecutionQuerySet:
        """Add `reason`, the beginning of the error's message, which may be long."""
        return self.annotate(reason=Left("error_message", REASON_LENGTH))


class NodeExecution(models.Model):
    """One run of one node in an execution; identity is (execution, node id, run index).

    `input_items` and `output_items` count list items (None: not sent), `input_bytes` and
    `output_bytes` the JSON text as stored in the execution's payload.
    """

    pk = models.CompositePrimaryKey("tenant_id", "execution_id", "node_id", "run_index")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    execution_id = models.UUIDField()
    node_id = models.TextField()
    run_index = models.IntegerField()
    position = models.IntegerField(null=True)
    name = models.TextField(null=True)
    type = models.TextField(null=True)
    status = models.SmallIntegerField(choices=[(s.value, s.slug) for s in Status])
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    duration_ms = models.BigIntegerField(null=True)
    attempt = models.IntegerField(null=True)
    error_message = models.TextField(null=True)
    input_bytes = models.IntegerField(null=True)
    output_bytes = models.IntegerField(null=True)
    input_items = models.IntegerField(null=True)
    output_items = models.IntegerField(null=True)
    order_keys = models.BinaryField()

    objects = TenantManager.from_queryset(NodeExecutionQuerySet)()

    class Meta:
        db_table = "monitoring_nodeexecution"

    def __str__(self) -> str:
        return self.name or self.node_id

    @property
    def state(self) -> Status:
        return Status(self.status)

    @property
    def title(self) -> str:
        return self.name or self.node_id


class ExecutionKey(models.Model):
    """Maps a sender's execution id to ours and carries its uniqueness (one row, not partitioned)."""

    pk = models.CompositePrimaryKey("tenant_id", "environment_id", "workflow_id", "external_id")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    environment_id = models.BigIntegerField()
    workflow_id = models.BigIntegerField()
    external_id = models.TextField()
    execution_id = models.UUIDField()

    objects = TenantManager["ExecutionKey"]()

    class Meta:
        db_table = "monitoring_executionkey"

    def __str__(self) -> str:
        return self.external_id


class IdempotencyKey(models.Model):
    """What a request with an `Idempotency-Key` made; lives as long as its execution.

    `digest` is the hash of path and key (and line number in a batch), `body_digest` that of the body.
    """

    pk = models.CompositePrimaryKey("tenant_id", "digest")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    digest = models.BinaryField()
    body_digest = models.BinaryField()
    execution_id = models.UUIDField()

    objects = TenantManager["IdempotencyKey"]()

    class Meta:
        db_table = "monitoring_idempotencykey"

    def __str__(self) -> str:
        return uuid.UUID(bytes=bytes(self.digest)[:16]).hex
