"""Where a request comes from."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from django.conf import settings
from django.http import HttpRequest

Network = IPv4Network | IPv6Network


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _trusted_proxies() -> tuple[Network, ...]:
    configured: Iterable[object] = getattr(settings, "TRUSTED_PROXIES", ())
    return _networks(tuple(str(network) for network in configured))


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def client_address(request: HttpRequest) -> str | None:
    """Return the caller's IP address, or None when the server does not say.

    `X-Forwarded-For` counts only as far as it was written by `settings.TRUSTED_PROXIES`: read from
    the right, the first address that is no trusted proxy is the caller. Anything further left may
    be invented.
    """
    address = _parse(request.META.get("REMOTE_ADDR", "") or "")
    if address is None:
        return None
    proxies = _trusted_proxies()
    for text in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        if not any(address in network for network in proxies):
            break
        before = _parse(text)
        if before is None:
            break
        address = before
    return str(address)


def neighbourhood(address: str | None) -> str:
    """Return what one household or host holds: an IPv4 address, or an IPv6 /64."""
    parsed = _parse(address or "")
    if parsed is None:
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)
