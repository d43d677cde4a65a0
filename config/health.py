"""Health for load balancers (live, ready) and for operators of the installation (detailed)."""

import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from config import soundness
from config.telemetry.view import knows_token
from monitoring.disk import database_disk
from monitoring.worker import is_led
from scheduling.database_status import database_figures
from scheduling.status import scheduler_status

logger = logging.getLogger(__name__)


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """This process answers; asks nothing else, so that a database outage restarts no web server."""
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """200 when requests may be sent here: database reachable, durable, and at our schema."""
    problems = _problems()
    if problems:
        logger.warning("not ready", extra={"problems": problems})
    return _answer(problems, {})


@never_cache
@require_safe
def detailed(request: HttpRequest) -> JsonResponse:
    """The verdict for everyone; the reasons and figures for staff and who knows METRICS_TOKEN."""
    problems = _problems()
    if not (knows_token(request) or _asked_by_staff(request)):
        return _answer(problems, {})
    details: dict[str, Any] = {
        "problems": problems,
        "mail": {"configured": settings.MAIL_CONFIGURED},
        "disk": _disk(),
    }
    try:
        details |= _figures()
    except DatabaseError as error:
        details["database"] = {"error": str(error)}
    return _answer(problems, details)


def _answer(problems: list[str], details: dict[str, Any]) -> JsonResponse:
    status = "unavailable" if problems else "ok"
    return JsonResponse({"status": status, **details}, status=503 if problems else 200)


def _problems() -> list[str]:
    """Everything that forbids sending requests here."""
    try:
        return (
            soundness.unsafe_settings()
            + [f"migration {name} is missing" for name in soundness.missing_migrations()]
            + [
                f"migration {name} is from a newer version"
                for name in soundness.unknown_migrations()
            ]
        )
    except DatabaseError as error:
        return [f"the database does not answer: {error}"]


def _asked_by_staff(request: HttpRequest) -> bool:
    """Sessions live in the database: without it nobody is known."""
    try:
        return bool(request.user.is_authenticated and request.user.is_staff)
    except DatabaseError:
        return False


def _disk() -> dict[str, Any] | None:
    """The embedded database's disk; None where somebody else runs the database, and watches it."""
    disk = database_disk()
    if disk is None:
        return None
    return {
        "state": disk.state,
        "used_percent": round(disk.used_percent, 1),
        "free_bytes": disk.free_bytes,
        "size_bytes": disk.size_bytes,
    }


def _figures() -> dict[str, Any]:
    """Database, queue and scheduler in numbers."""
    figures = database_figures()
    return {
        "database": {
            "version": figures.version,
            "latency_ms": round(figures.latency_seconds * 1000, 1),
            "size_bytes": figures.size_bytes,
            "connections": figures.connections,
            "max_connections": figures.max_connections,
        },
        "queue": figures.waiting,
        "scheduler": {"worker_leads": is_led(), **scheduler_status().as_json()},
    }
