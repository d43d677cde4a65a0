"""The short way for calls that carry a token: past what only browsers need.

Sessions, messages, forms and policies for pages would cost a call of the API more than everything
else about it. Stands first in `MIDDLEWARE`.
"""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern

from monitoring.api.endpoints import View
from tenants.errors import refused

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": (
        "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


class TokenCalls:
    """Middleware that answers the API's calls with a token itself and passes on all others."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        from monitoring.api.urls import urlpatterns

        self._get_response = get_response
        self._transport_policy = _transport_policy()
        # Addresses without an id are found without trying patterns.
        self._fixed = {
            f"/{text}": pattern.callback
            for pattern in urlpatterns
            if (text := _fixed_text(pattern)) is not None
        }
        self._patterns = [pattern for pattern in urlpatterns if _fixed_text(pattern) is None]

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not _has_token(request):
            return self._get_response(request)
        view, ids = self._find(request.path_info)
        if view is None:
            return self._get_response(request)
        response = _refused_host(request) or view(request, **ids)
        for name, value in _HEADERS.items():
            response.headers[name] = value
        if self._transport_policy and request.is_secure():
            response.headers["Strict-Transport-Security"] = self._transport_policy
        if not response.streaming and "Content-Length" not in response.headers:
            response.headers["Content-Length"] = str(len(response.content))  # type: ignore[attr-defined]
        return response

    def _find(self, path: str) -> tuple[View | None, dict[str, str]]:
        view = self._fixed.get(path)
        if view is not None or not path.startswith("/api/"):
            return view, {}
        for pattern in self._patterns:
            match = pattern.resolve(path[1:])
            if match is not None:
                return pattern.callback, match.kwargs
        return None, {}


def _transport_policy() -> str:
    """What SecurityMiddleware says of pages over https; empty when FRONTEND_URL is http."""
    if not settings.SECURE_HSTS_SECONDS:
        return ""
    subdomains = "; includeSubDomains" if settings.SECURE_HSTS_INCLUDE_SUBDOMAINS else ""
    return f"max-age={settings.SECURE_HSTS_SECONDS}{subdomains}"


def _refused_host(request: HttpRequest) -> HttpResponse | None:
    """What CommonMiddleware does for pages: answer only names in ALLOWED_HOSTS."""
    try:
        request.get_host()
    except DisallowedHost as error:
        return refused(request, error)
    return None


def _has_token(request: HttpRequest) -> bool:
    """Whether a call says who it is by a token: an empty header leaves that to the session."""
    meta = request.META
    return bool(meta.get("HTTP_AUTHORIZATION") or meta.get("HTTP_X_API_KEY", "").strip())


def _fixed_text(pattern: URLPattern) -> str | None:
    """The address of a pattern without places, None for one with."""
    text = str(pattern.pattern)
    if "(?P<" in text:
        return None
    return text.removeprefix("^").removesuffix(r"\Z").replace("\\", "")
