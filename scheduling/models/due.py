"""What the tables of all kinds of due rows have in common."""

from __future__ import annotations

from django.db import models

from tenants.models import Tenant


class DueRow(models.Model):
    """What every kind's row carries (`scheduling/due.py`). `due_at` null: there is nothing to do.

    A kind's Meta has `indexes = [due_index("…")]`.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    due_at = models.DateTimeField(null=True, editable=False)
    leased_until = models.DateTimeField(null=True, editable=False)
    attempts = models.PositiveSmallIntegerField(default=0, editable=False)
    fence = models.BigIntegerField(default=0, editable=False)
    quarantined_at = models.DateTimeField(null=True, editable=False)
    last_error = models.TextField(default="", editable=False)

    class Meta:
        abstract = True


def due_index(name: str) -> models.Index:
    """The index that finds due rows of a kind without reading the others."""
    return models.Index(
        fields=["due_at"],
        condition=models.Q(due_at__isnull=False, quarantined_at__isnull=True),
        name=name,
    )
