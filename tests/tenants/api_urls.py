"""Addresses that exist in tests only: one endpoint of each kind."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import OperationalError
from django.http import Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from config.urls import urlpatterns as product
from tenants import problems
from tenants.api_access import Access, ApiRequest, api_endpoint
from tenants.models import ApiToken, Role
from tenants.scoping import current_tenant


def _who(request: ApiRequest) -> JsonResponse:
    assert current_tenant() == request.tenant
    return JsonResponse({"tenant": request.tenant.slug, "actor": request.actor})


@api_endpoint(
    GET=Access("read"),
    POST=Access("ingest"),
    PUT=Access("write", Role.OPERATOR),
    DELETE=Access("write"),
)
def thing(request: ApiRequest, name: str) -> HttpResponse:
    return _who(request)


@api_endpoint(GET=Access(None))
def anybody(request: ApiRequest) -> HttpResponse:
    return _who(request)


@api_endpoint(GET=Access("read"), POST=Access("write"))
def broken(request: ApiRequest, how: str) -> HttpResponse:
    if how == "problem":
        raise problems.conflict("Two match.", candidates=[{"id": 1}])
    if how == "missing":
        raise Http404
    if how == "database":
        raise OperationalError("connection refused at 10.0.0.5")
    if how == "body":
        return HttpResponse(request.body)
    raise RuntimeError("a secret detail")


@api_endpoint(GET=Access("read"))
def stream(request: ApiRequest) -> StreamingHttpResponse:
    def lines() -> Iterator[str]:
        yield f"{ApiToken.objects.count()}\n"

    return StreamingHttpResponse(lines(), content_type="application/x-ndjson")


urlpatterns = [
    path("api/things/<str:name>", thing),
    path("api/anybody", anybody),
    path("api/broken/<str:how>", broken),
    path("api/stream", stream),
    *product,
]
