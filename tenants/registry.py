"""What higher apps add to a tenant's life, so that `tenants` need not know them.

They register when they start (`AppConfig.ready`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from tenants.models import Tenant

Exporter = Callable[[Tenant], Iterable[Mapping[str, object]]]
"""Yields a tenant's rows of one kind as JSON-able records; runs in the tenant's scope."""

Deleter = Callable[[Tenant], bool]
"""Deletes one bounded step of a tenant's data in its own transaction; False: nothing was left."""

EnvironmentLister = Callable[[Tenant], Iterable[tuple[int, str]]]
"""Lists a tenant's environments as (id, name), for tokens that are bound to one."""

_exporters: dict[str, Exporter] = {}
_deleters: list[Deleter] = []
_environment_listers: list[EnvironmentLister] = []


def register_exporter(name: str, function: Exporter) -> None:
    """Add the file `<name>.ndjson` to every tenant's export."""
    if _exporters.get(name, function) is not function:
        raise ValueError(f"There is an exporter named {name!r} already.")
    _exporters[name] = function


def register_deleter(function: Deleter) -> None:
    """Call `function` again and again before a tenant's own rows are deleted."""
    if function not in _deleters:
        _deleters.append(function)


def register_environments(function: EnvironmentLister) -> None:
    """Let tokens be bound to the environments that `function` lists."""
    if function not in _environment_listers:
        _environment_listers.append(function)


def exporters() -> Iterator[tuple[str, Exporter]]:
    """Yield the registered exporters by name."""
    yield from sorted(_exporters.items())


def deleters() -> tuple[Deleter, ...]:
    """Return the registered deleters, the last one first.

    Higher apps register after lower ones, and what they store points at what lies below.
    """
    return tuple(reversed(_deleters))


def environments_of(tenant: Tenant) -> list[tuple[int, str]]:
    """Return the tenant's environments as (id, name), in its scope."""
    from tenants.scoping import tenant_scope

    with tenant_scope(tenant):
        return [choice for lister in _environment_listers for choice in lister(tenant)]
