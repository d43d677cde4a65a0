"""A kind of due rows for these tests."""

from __future__ import annotations

from django.db import models

from scheduling.models.due import DueRow, due_index
from tenants.scoping import TenantManager

TABLES = """
CREATE TABLE faults_chore (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id bigint NOT NULL,
    due_at timestamptz, leased_until timestamptz, attempts smallint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0, quarantined_at timestamptz,
    last_error text NOT NULL DEFAULT '', seconds float8 NOT NULL DEFAULT 0,
    is_waiting bool NOT NULL DEFAULT false, worker int,
    begun int NOT NULL DEFAULT 0, done int NOT NULL DEFAULT 0
);
CREATE TABLE faults_told (event int NOT NULL);
CREATE TABLE faults_heard (execution uuid NOT NULL);
"""
DROP_TABLES = "DROP TABLE faults_chore, faults_told, faults_heard"


class Chore(DueRow):
    """Takes `seconds` and counts how often it was begun, by whom last, and done.

    One that `is_waiting` is done in a thread, like calls of receivers that hang.
    """

    seconds = models.FloatField(default=0)
    is_waiting = models.BooleanField(default=False)
    begun = models.IntegerField(default=0)
    done = models.IntegerField(default=0)
    worker = models.IntegerField(null=True)

    objects = TenantManager["Chore"]()

    class Meta:
        app_label = "faults"
        db_table = "faults_chore"
        indexes = [due_index("chore_due")]

    def __str__(self) -> str:
        return f"chore {self.pk}"
