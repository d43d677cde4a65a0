"""`/metrics`, for those who know its token or come from where it may be read."""

from __future__ import annotations

from ipaddress import ip_address
from secrets import compare_digest
from typing import Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from config.telemetry import installation, requests
from tenants.addresses import client_address
from tenants.problems import problem_response, unauthorized

_CONTENT_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Numbers of all web processes and of the installation; of no tenant.

    404 where neither METRICS_TOKEN nor METRICS_ALLOWED_NETWORKS is set.
    """
    if not settings.METRICS_TOKEN and not settings.METRICS_ALLOWED_NETWORKS:
        raise Http404
    if not (knows_token(request) or _comes_from_allowed(request)):
        return problem_response(unauthorized("Give METRICS_TOKEN as a bearer token."))
    return HttpResponse(requests.text() + installation.text(), content_type=_CONTENT_TYPE)


def knows_token(request: HttpRequest) -> bool:
    """Whether there is a METRICS_TOKEN and the request brings it."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN.encode()
    return (
        bool(wanted)
        and scheme.lower() == "bearer"
        and compare_digest(token.strip().encode("utf-8", "surrogateescape"), wanted)
    )


def _comes_from_allowed(request: HttpRequest) -> bool:
    address = client_address(request)
    return address is not None and any(
        ip_address(address) in network for network in settings.METRICS_ALLOWED_NETWORKS
    )
