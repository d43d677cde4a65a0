"""Tenants, who belongs to them, and the tokens of their programs."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from tenants.roles import Role, Scope
from tenants.scoping import TenantManager


class TenantQuerySet(models.QuerySet["Tenant"]):
    """Questions about tenants."""

    def living(self) -> TenantQuerySet:
        """Tenants whose deletion was not asked for."""
        return self.filter(deletion_requested_at=None)

    def marked_for_deletion(self) -> TenantQuerySet:
        """Tenants whose data is being deleted, the longest waiting first."""
        return self.exclude(deletion_requested_at=None).order_by("deletion_requested_at", "id")


class Tenant(models.Model):
    """One client or team; owns environments, workflows, executions and everything about them."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=255)
    slug = models.SlugField(max_length=63, unique=True, help_text="Its name in addresses.")
    location_id = models.CharField(
        max_length=255,
        unique=True,
        null=True,
        blank=True,
        default=None,
        help_text="The GoHighLevel location that names this tenant from outside, if any.",
    )
    executions_per_minute = models.PositiveIntegerField(
        "executions a minute",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="How many it may send; more are answered 429. Empty: what the installation allows.",
    )
    retention_days = models.PositiveSmallIntegerField(
        "days that executions are kept",
        default=90,
        validators=[MinValueValidator(1), MaxValueValidator(3_650)],
        help_text="Older ones are removed. Their numbers and error groups stay.",
    )
    retention_minimum = models.PositiveIntegerField(
        "executions that stay however old",
        default=100,
        validators=[MaxValueValidator(10_000)],
        help_text="The newest ones, so that a quiet tenant does not end up with an empty history.",
    )
    suspended_at = models.DateTimeField(null=True, blank=True, editable=False)
    deletion_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = models.Manager.from_queryset(TenantQuerySet)()

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Return the address of the tenant's first page, under which all its pages live."""
        return f"{reverse('home')}t/{self.slug}/"

    def clean(self) -> None:
        """Treat an empty location as none, so that many tenants can have none."""
        self.location_id = (self.location_id or "").strip() or None

    @property
    def is_suspended(self) -> bool:
        """Whether an operator has suspended the tenant."""
        return self.suspended_at is not None

    @property
    def is_being_deleted(self) -> bool:
        """Whether deletion was asked for."""
        return self.deletion_requested_at is not None


class Membership(models.Model):
    """What one person may do in one tenant."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = TenantManager["Membership"]()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["tenant", "user"], name="membership_once"),
            models.CheckConstraint(
                condition=models.Q(role__in=Role.values), name="membership_role_known"
            ),
        )
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.user}, {self.role}"

    def may(self, role: Role) -> bool:
        """Say whether this member may do what needs `role`."""
        return Role(self.role).at_least(role)


class ApiToken(models.Model):
    """A program's key to one tenant. The secret itself is shown once and stored as a digest."""

    LAST_USE_STEP: ClassVar[int] = 60
    """Seconds between two writings of `last_used_at`."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=255)
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    environment_id = models.BigIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
    )

    objects = TenantManager["ApiToken"]()

    class Meta:
        verbose_name = "API token"
        ordering = ("-id",)
        indexes = (models.Index(fields=["tenant", "-id"], name="token_of_tenant"),)

    def __str__(self) -> str:
        return f"{self.name} (fw_{self.prefix}_…)"

    def state(self, now: datetime | None = None) -> str:
        """Return "revoked", "expired" or "active"."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= (now or timezone.now()):
            return "expired"
        return "active"
