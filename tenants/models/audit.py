"""The audit log: rows are added and read, never changed (the app role has no right to)."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models

from tenants.models.tenant import Tenant
from tenants.scoping import TenantManager


class AuditEvent(models.Model):
    """One thing that somebody did. It outlives the person and the tenant, so nothing points back.

    Foreign keys carry no database constraint: deleting a tenant or person must not have to touch
    these rows. `actor_label` and `tenant_label` keep who it was in words.
    """

    tenant = models.ForeignKey(
        Tenant,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    tenant_label = models.CharField(max_length=255, blank=True)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        null=True,
        related_name="+",
    )
    actor_label = models.CharField(max_length=255)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=255, blank=True)
    detail = models.JSONField(default=dict)
    ip = models.GenericIPAddressField(null=True)
    created_at = models.DateTimeField(db_index=True)

    objects = TenantManager["AuditEvent"]()

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=["tenant", "-id"], name="audit_of_tenant"),)

    def __str__(self) -> str:
        return f"{self.action} by {self.actor_label}"

    @property
    def said(self) -> str:
        """The action in words: "Token revoked"."""
        if self.action in _SAID:
            return _SAID[self.action]
        subject, _, verb = self.action.partition(".")
        words = f"{subject} {_VERBS.get(verb, verb)}".translate(_SPACED)
        return words.strip().capitalize()

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The detail as names and texts for people; what is empty is left out."""
        return [
            (name.replace("_", " "), _in_words(value))
            for name, value in self.detail.items()
            if value not in (None, "", [])
        ]


_SAID: Final = {
    "executions.delete.cancel": "Deletion of executions canceled",
    "sign-in.success": "Signed in",
    "sign-out": "Signed out",
    "password.link": "Link to set a password made",
}
_VERBS: Final = {
    "acknowledge": "acknowledged",
    "add": "added",
    "change": "changed",
    "clear": "cleared",
    "create": "made",
    "delete": "deleted",
    "end": "ended",
    "export": "exported",
    "invite-again": "invited again",
    "put": "stored",
    "remove": "removed",
    "resume": "resumed",
    "revoke": "revoked",
    "role": "given another role",
    "settings": "settings changed",
    "suspend": "suspended",
    "test": "tested",
    "upload": "uploaded",
}
_SPACED: Final = str.maketrans("._-", "   ")


def _in_words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_in_words(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_in_words(item)}" for name, item in value.items())
    return str(value)
