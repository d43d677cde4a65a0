"""Every query belongs to a tenant: one outside a tenant's scope raises instead of answering.

Models that a tenant owns declare `objects = TenantManager()` or
`objects = TenantManager.from_queryset(MyQuerySet)()`. The scope itself is django-scopes'.
Relations, cascades and `refresh_from_db` use Django's base manager and are not scoped: they start
from an object that was found inside a scope.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from django.db import models
from django.http.response import HttpResponseBase, StreamingHttpResponse
from django_scopes import ScopeError, get_scope, scope, scopes_disabled
from django_scopes.manager import DisabledQuerySet

if TYPE_CHECKING:
    from tenants.models import Tenant

__all__ = [
    "ScopeError",
    "TenantManager",
    "across_tenants",
    "current_tenant",
    "scoped_response",
    "scoped_stream",
    "tenant_scope",
]

_Model_co = TypeVar("_Model_co", bound=models.Model, covariant=True)
_Item = TypeVar("_Item")


@contextmanager
def tenant_scope(tenant: Tenant) -> Iterator[None]:
    """Limit every query of tenant-owned models inside the block to `tenant`."""
    if tenant is None or tenant.pk is None:
        raise ScopeError("tenant_scope() needs a saved tenant; None would switch the limit off.")
    with scope(tenant=tenant):
        yield


@contextmanager
def across_tenants() -> Iterator[None]:
    """Lift the limit, for the few places that look across tenants on purpose.

    Those are: finding who is calling (tokens, memberships), the operator's admin, and jobs that
    visit all tenants. Everything else takes `tenant_scope`.
    """
    with scopes_disabled():
        yield


def current_tenant() -> Tenant:
    """Return the tenant of the active scope; raise ScopeError outside one."""
    active = get_scope()
    tenant: Tenant | None = active.get("tenant") if active.get("_enabled", True) else None
    if tenant is None:
        raise ScopeError("This needs one tenant's scope (use tenant_scope).")
    return tenant


class UnscopedQuerySet(DisabledQuerySet):  # type: ignore[misc]
    """Refuse every question, including those that django-scopes lets through.

    `exists()`, `contains()`, `explain()` and use as a subquery would otherwise look at the rows of
    all tenants.
    """

    def refuse(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise ScopeError."""
        raise ScopeError(
            f"{self.model.__name__} was queried outside a tenant's scope (use tenant_scope)."
        )

    error = refuse
    exists = refuse
    contains = refuse
    explain = refuse
    in_bulk = refuse
    exclude = refuse
    alias = refuse
    resolve_expression = refuse
    bulk_update = refuse

    def __getattr__(self, name: str) -> Any:
        """Answer the model's own queryset methods (`failed()`, …) with the same refusal."""
        if name.startswith("_"):
            raise AttributeError(name)
        return self.refuse


for _name in [
    name for name, value in vars(DisabledQuerySet).items() if value is DisabledQuerySet.error
]:
    setattr(UnscopedQuerySet, _name, UnscopedQuerySet.refuse)


class TenantManager(models.Manager[_Model_co]):
    """Manager of a model with a foreign key `tenant`: sees the active scope's tenant only."""

    def get_queryset(self) -> models.QuerySet[_Model_co]:
        """Return the scope's rows, all rows across tenants, or a queryset that refuses."""
        active = get_scope()
        if not active.get("_enabled", True):
            return super().get_queryset()
        tenant = active.get("tenant")
        if tenant is None:
            return UnscopedQuerySet(self.model, using=self._db, missing_scopes={"tenant"})
        return super().get_queryset().filter(tenant=tenant)

    def all(self) -> models.QuerySet[_Model_co]:
        """Return `get_queryset()`, refusing at once outside a scope."""
        queryset = super().all()
        return queryset.all() if isinstance(queryset, DisabledQuerySet) else queryset


def scoped_stream(tenant: Tenant, items: Iterable[_Item]) -> Iterator[_Item]:
    """Yield `items`, computing each inside the tenant's scope.

    A streaming answer is read after its view returned. The scope is taken for each step and not
    around the whole, so that it never leaks into what the server's thread does between steps.
    """
    iterator = iter(items)
    while True:
        with tenant_scope(tenant):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def scoped_response(tenant: Tenant, response: HttpResponseBase) -> HttpResponseBase:
    """Return `response`; when it streams, its parts are computed in the tenant's scope."""
    if isinstance(response, StreamingHttpResponse) and not response.is_async:
        response.streaming_content = scoped_stream(tenant, iter(response))
    return response
