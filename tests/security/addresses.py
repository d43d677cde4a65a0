"""Every address that the URL resolver knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.urls import URLPattern, URLResolver, get_resolver


@dataclass(frozen=True, slots=True)
class Address:
    """One address; `key` is its full name, or its route where it has none."""

    key: str
    route: str

    @property
    def has_name(self) -> bool:
        return self.key != self.route

    @property
    def is_machine(self) -> bool:
        """Whether programs call it: no answer of it is HTML, but the page of documentation."""
        return self.route.startswith(("^api/", "^v1/", "^(?:api|v1)/"))

    @property
    def is_admin(self) -> bool:
        """Whether it belongs to the operator's admin, which looks across tenants."""
        return self.route.startswith("admin/")


def all_addresses() -> list[Address]:
    """All addresses in the order of the resolver. Static files have none: WhiteNoise serves them."""
    return list(_walk(get_resolver().url_patterns, (), ""))


def _walk(
    patterns: list[URLPattern | URLResolver], spaces: tuple[str, ...], before: str
) -> Iterator[Address]:
    for entry in patterns:
        route = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            inner = (*spaces, entry.namespace) if entry.namespace else spaces
            yield from _walk(entry.url_patterns, inner, route)
        else:
            yield Address(":".join([*spaces, entry.name]) if entry.name else route, route)
