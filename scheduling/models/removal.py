"""When a tenant's past executions are removed."""

from __future__ import annotations

from django.db import models

from scheduling.models.due import DueRow, due_index
from tenants.scoping import TenantManager


class Removal(DueRow):
    """A tenant's turn: once a day, and again and again until the past is gone (`scheduling/removal.py`)."""

    objects = TenantManager["Removal"]()

    class Meta:
        indexes = [due_index("removal_due")]
        constraints = [models.UniqueConstraint(fields=["tenant"], name="removal_of_tenant")]

    def __str__(self) -> str:
        return f"removal of {self.tenant_id}"
