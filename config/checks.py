"""What is misconfigured and how to mend it, as Django system checks (``flowwatch check``)."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import OperationalError
from django.http.request import validate_host

from config import soundness

SHORTEST_SECRET = 32


@register(Tags.security)
def check_secret_key(**_: Any) -> list[CheckMessage]:
    """A short key can be guessed, and with it every session and password reset link."""
    if len(settings.SECRET_KEY) >= SHORTEST_SECRET:
        return []
    return [
        Error(
            f"SECRET_KEY has {len(settings.SECRET_KEY)} characters; {SHORTEST_SECRET} are needed.",
            hint="Unset it and Flowwatch makes one in its data folder, or give it 50 random characters.",
            id="flowwatch.E001",
        )
    ]


@register()
def check_address(**_: Any) -> list[CheckMessage]:
    """People must be let in at the address that mails and start-up name."""
    host = urlsplit(settings.FRONTEND_URL).hostname or ""
    if validate_host(host, settings.ALLOWED_HOSTS):
        return []
    return [
        Error(
            f"ALLOWED_HOSTS does not contain {host}, the host of FRONTEND_URL.",
            hint=f"Add {host} to ALLOWED_HOSTS (comma-separated), or leave ALLOWED_HOSTS away.",
            id="flowwatch.E002",
        )
    ]


@register()
def check_deadlines(**_: Any) -> list[CheckMessage]:
    """A pause longer than the whole makes no sense; none at all lets slow senders in."""
    total, idle = settings.SLOW_BODY_TOTAL_SECONDS, settings.SLOW_BODY_IDLE_SECONDS
    if 0 < idle <= total:
        return []
    return [
        Error(
            f"SLOW_BODY_IDLE_SECONDS is {idle:g} and SLOW_BODY_TOTAL_SECONDS is {total:g}.",
            hint="Both are above 0 and the first is not larger; 5 and 30 are the defaults.",
            id="flowwatch.E003",
        )
    ]


@register(Tags.database)
def check_database(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The same that start-up and ``/health/ready`` refuse (``check --database default``)."""
    if not databases:
        return []
    try:
        problems = soundness.unsafe_settings()
    except OperationalError as error:
        return [Error(f"The database can't be reached: {error}", id="flowwatch.E010")]
    return [Error(problem, id="flowwatch.E011") for problem in problems]


@register()
def check_roles(**_: Any) -> list[CheckMessage]:
    """The web should not own the schema it works on."""
    if settings.MIGRATION_DATABASE is not None:
        return []
    return [
        checks.Warning(
            "One database role is both owner and app.",
            hint="Set MIGRATION_DATABASE_URL to the owner's connection and DATABASE_URL to a role "
            "without rights to change the schema (docs/deployment.md).",
            id="flowwatch.W001",
        )
    ]
