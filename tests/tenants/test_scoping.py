"""A query outside a tenant's scope is an error, whatever it asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model, Q
from django.http import StreamingHttpResponse
from django_scopes import get_scope

from tenants.models import ApiToken, Membership, Tenant, User
from tenants.scoping import (
    ScopeError,
    TenantManager,
    across_tenants,
    current_tenant,
    scoped_response,
    tenant_scope,
)
from tests.tenants.factories import make_member, make_tenant, make_token

QUESTIONS: dict[str, Callable[[Any], Any]] = {
    "all": lambda objects: list(objects.all()),
    "filter": lambda objects: objects.filter(pk=1),
    "exclude": lambda objects: objects.exclude(pk=1),
    "get": lambda objects: objects.get(pk=1),
    "first": lambda objects: objects.first(),
    "count": lambda objects: objects.count(),
    "exists": lambda objects: objects.exists(),
    "contains": lambda objects: objects.contains(Membership(pk=1)),
    "in_bulk": lambda objects: objects.in_bulk([1]),
    "aggregate": lambda objects: objects.aggregate(n=Q()),
    "values": lambda objects: objects.values("pk"),
    "values_list": lambda objects: objects.values_list("pk"),
    "iterator": lambda objects: list(objects.iterator()),
    "update": lambda objects: objects.update(role="owner"),
    "delete": lambda objects: objects.all().delete(),
    "bulk_update": lambda objects: objects.bulk_update([Membership(pk=1)], ["role"]),
    "get_or_create": lambda objects: objects.get_or_create(pk=1),
    "distinct": lambda objects: list(objects.distinct()),
    "subquery": lambda objects: list(User.objects.filter(pk__in=objects.get_queryset().distinct())),
    "raw": lambda objects: list(objects.raw("SELECT * FROM tenants_membership")),
    "a method of its own": lambda objects: objects.get_queryset().owners(),
}


@pytest.mark.django_db
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_without_tenant_is_refused(question: str) -> None:
    make_member(make_tenant())
    with pytest.raises(ScopeError):
        QUESTIONS[question](Membership.objects)


@pytest.mark.django_db
def test_a_scope_shows_its_tenant_only() -> None:
    ours, theirs = make_tenant(), make_tenant()
    mine = make_member(ours)
    make_member(theirs)
    with tenant_scope(ours):
        assert [m.user for m in Membership.objects.all()] == [mine]
        assert current_tenant() == ours


@pytest.mark.django_db
def test_an_inner_scope_does_not_see_the_outer_tenant() -> None:
    ours, theirs = make_tenant(), make_tenant()
    make_token(ours)
    with tenant_scope(ours), tenant_scope(theirs):
        assert not ApiToken.objects.exists()
        assert not theirs.tokens.exists()
        # Relations that start at another tenant's object find nothing either.
        assert not ours.tokens.exists()


@pytest.mark.django_db
def test_looking_across_tenants_is_said_aloud() -> None:
    make_token(make_tenant())
    make_token(make_tenant())
    with across_tenants():
        assert ApiToken.objects.count() == 2
        with pytest.raises(ScopeError):
            current_tenant()
    with pytest.raises(ScopeError):
        ApiToken.objects.count()


@pytest.mark.parametrize("nobody", [None, Tenant()])
def test_no_tenant_is_no_scope(nobody: Any) -> None:
    with pytest.raises(ScopeError), tenant_scope(nobody):
        raise AssertionError("the scope was opened")


@pytest.mark.django_db
def test_a_streamed_answer_is_computed_in_its_scope_and_leaves_none_behind() -> None:
    ours, theirs = make_tenant(), make_tenant()
    make_token(ours)
    make_token(theirs)

    def lines() -> Any:
        for _ in range(3):
            yield str(ApiToken.objects.count())

    response = scoped_response(ours, StreamingHttpResponse(lines()))
    assert isinstance(response, StreamingHttpResponse)
    seen = []
    for part in response:
        seen.append(part)
        assert not get_scope()
    assert seen == [b"1", b"1", b"1"]


def tenant_models() -> list[type[Model]]:
    """Return every model of ours with a foreign key named `tenant`."""
    return [
        model
        for model in apps.get_models()
        if any(field.name == "tenant" for field in model._meta.get_fields())
        and model._meta.app_label in ("tenants", "monitoring")
    ]


@pytest.mark.parametrize("model", tenant_models(), ids=lambda model: model.__name__)
def test_every_model_of_a_tenant_is_scoped(model: type[Model]) -> None:
    managers = model._meta.managers
    assert managers, f"{model.__name__} has no manager"
    for manager in managers:
        assert isinstance(manager, TenantManager), f"{model.__name__}.{manager.name} is not scoped"
