"""Answers to what no view answered: problem+json for machines, a plain page for people."""

from __future__ import annotations

import sys

from django.core.exceptions import BadRequest, DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string

from tenants import problems
from tenants.audit import printable
from tenants.problems import problem_response
from tenants.request_ids import current_request_id

_MACHINE_PATHS = ("/api/", "/v1/", "/internal/", "/health/", "/metrics")

_HOST_SHOWN = 100


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, without telling unknown from forbidden."""
    if _is_machine(request):
        return problem_response(problems.not_found())
    return render(request, "404.html", status=404)


def refused(request: HttpRequest, exception: Exception) -> HttpResponse:
    """400, with the reason that is ours to give; of what looks like an attack nothing is said."""
    is_unknown_host = isinstance(exception, DisallowedHost)
    reason = _unknown_host(request) if is_unknown_host else _reason(exception)
    if _is_machine(request):
        return problem_response(problems.bad_request(reason or "It could not be understood."))
    context = {"reason": reason, "is_unknown_host": is_unknown_host}
    return HttpResponse(render_to_string("400.html", context), status=400)


def _reason(exception: Exception) -> str:
    return str(exception) if isinstance(exception, BadRequest) else ""


def _unknown_host(request: HttpRequest) -> str:
    host = printable(request.headers.get("Host", ""), _HOST_SHOWN)
    return f"Nothing is answered under “{host}”: this name is not in ALLOWED_HOSTS."


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 of Django itself; pages with roles have their own."""
    if _is_machine(request):
        return problem_response(problems.forbidden("You may not do this."))
    return render(request, "403.html", status=403)


def broken(request: HttpRequest) -> HttpResponse:
    """500: a fault of ours; 503 while the database is away, which passes.

    Asks nothing, not even who looks: the database may be what broke.
    """
    away = isinstance(sys.exception(), OperationalError | InterfaceError)
    problem = problems.database_away() if away else problems.internal_error()
    if _is_machine(request):
        return problem_response(problem)
    page = render_to_string(f"{problem.status}.html", {"request_id": current_request_id()})
    return HttpResponse(page, status=problem.status, headers=problem.headers)


def _is_machine(request: HttpRequest) -> bool:
    return request.path.startswith(_MACHINE_PATHS)
