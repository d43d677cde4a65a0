"""Answers to what no view answered: problem+json for machines, a plain page for people."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from tenants import problems
from tenants.problems import Problem, problem_response

_MACHINE_PATHS = ("/api/", "/v1/", "/internal/")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """404, without telling unknown from forbidden."""
    return _answer(request, problems.not_found(), "404.html")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """403 of Django itself; pages with roles have their own."""
    return _answer(request, problems.forbidden("You may not do this."), "403.html")


def broken(request: HttpRequest) -> HttpResponse:
    """500: a fault of ours."""
    return _answer(request, problems.internal_error(), "500.html")


def _answer(request: HttpRequest, problem: Problem, template: str) -> HttpResponse:
    if request.path.startswith(_MACHINE_PATHS):
        return problem_response(problem)
    return render(request, template, status=problem.status)
