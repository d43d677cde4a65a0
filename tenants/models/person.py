"""People, their sessions, and the places they have signed in from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from tenants.zones import known_zones


class Theme(models.TextChoices):
    """Light or dark."""

    SYSTEM = "system", "As the system"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


class Density(models.TextChoices):
    """Height of table rows."""

    COMFORTABLE = "comfortable", "Comfortable"
    COMPACT = "compact", "Compact"


def normalize_email(email: str) -> str:
    """Return the one spelling under which an address is kept: trimmed and in lower case."""
    return email.strip().lower()


def validate_time_zone(name: str) -> None:
    """Refuse a name that is no zone of the time zone database."""
    if name not in known_zones():
        raise ValidationError("“%(name)s” is no known time zone.", params={"name": name})


class UserManager(BaseUserManager["User"]):
    """Makes people; addresses are kept in one spelling, so that one person has one account."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store a person; without a password nobody can sign in until one is set by mail link."""
        if not email.strip():
            raise ValueError("A person needs a mail address.")
        user = self.model(email=email, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        """Store an operator of the installation, who may use the admin for all tenants."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        """Find a person by mail address in any spelling."""
        return self.get(email=normalize_email(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """A person; what they may do in a tenant is in their membership there."""

    email = models.EmailField("mail address", unique=True)
    name = models.CharField(max_length=255, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    theme = models.CharField(max_length=10, choices=Theme.choices, default=Theme.SYSTEM)
    density = models.CharField(max_length=15, choices=Density.choices, default=Density.COMFORTABLE)
    is_active = models.BooleanField(
        "active", default=True, help_text="Switch off instead of deleting: sessions end at once."
    )
    is_staff = models.BooleanField(
        "operator of the installation",
        default=False,
        help_text="May sign in to this admin, which sees all tenants.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.email

    def clean(self) -> None:
        """Bring the address into its one spelling before uniqueness is checked."""
        super().clean()
        self.email = normalize_email(self.email)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the person with the address in its one spelling."""
        self.email = normalize_email(self.email)
        super().save(*args, **kwargs)

    @property
    def display_name(self) -> str:
        """The name, or the mail address of a person who gave none."""
        return self.name or self.email

    @property
    def zone(self) -> ZoneInfo:
        """The person's time zone; UTC when the zone has left the time zone database."""
        try:
            return ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            return ZoneInfo("UTC")


class Session(AbstractBaseSession):
    """A signed-in browser: who, since when, from where; the person can see and end it.

    It ends after `tenants.sessions.IDLE_LIMIT` without a request, and at the latest after
    `tenants.sessions.ABSOLUTE_LIMIT`.
    """

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, null=True, related_name="browser_sessions"
    )
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    ip = models.GenericIPAddressField(null=True)
    user_agent = models.CharField(max_length=255, blank=True)

    class Meta:
        indexes = (models.Index(fields=["user"], name="session_of_user"),)

    @classmethod
    def get_session_store_class(cls) -> Any:
        """Return the store that reads and writes these rows."""
        from tenants.sessions import SessionStore

        return SessionStore


class KnownPlace(models.Model):
    """A browser or address from which this person has signed in before.

    Guesses from elsewhere can use up the tries of strangers, never the tries from here.
    """

    LIFETIME: ClassVar[timedelta] = timedelta(days=180)

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="known_places")
    key = models.CharField(max_length=64, help_text="Digest of the device cookie or address.")
    last_used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["user", "key"], name="known_place_once"),)

    def __str__(self) -> str:
        return f"{self.user_id} at {self.key[:8]}"


class SignInBucket(models.Model):
    """The instants of the latest tries under one key (account, place or address).

    In PostgreSQL, so that all web processes and hosts count together.
    """

    key = models.CharField(max_length=64, primary_key=True)
    hits = ArrayField(models.DateTimeField())
    last_hit_at = models.DateTimeField()

    class Meta:
        indexes = (models.Index(fields=["last_hit_at"], name="sign_in_bucket_age"),)

    def __str__(self) -> str:
        return f"{self.key[:8]}: {len(self.hits)}"
