"""Health for load balancers and operators."""

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def live(request: HttpRequest) -> JsonResponse:
    """This process answers; asks nothing else, so that a database outage restarts no web server."""
    return JsonResponse({"status": "ok"})


@require_safe
def ready(request: HttpRequest) -> JsonResponse:
    """Whether requests may be sent here."""
    return JsonResponse({"status": "ok"})


@require_safe
def detailed(request: HttpRequest) -> JsonResponse:
    """What is behind the verdict."""
    return JsonResponse({"status": "ok"})
