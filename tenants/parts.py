"""Parts of pages that HTMX asks for: same address, same context, less of the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def render_part(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    parts: Mapping[str, str],
    *,
    status: int | None = None,
) -> HttpResponse:
    """Render a page, or the part of it that is asked for.

    `parts` are the names of the template's partials by the ids of the elements that they go into.
    """
    part = wanted_part(request, parts)
    answer = render(request, f"{template}#{part}" if part else template, context, status=status)
    patch_vary_headers(answer, ["HX-Target"])
    return answer


def wanted_part(request: HttpRequest, parts: Mapping[str, str]) -> str:
    """The partial of `parts` that a request asks for; "" is the whole page."""
    return parts.get(request.headers.get("HX-Target", ""), "")
