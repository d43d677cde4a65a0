"""Saved views of the list of executions."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client

from monitoring.models import SavedView
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_member, make_tenant

pytestmark = pytest.mark.django_db

LIST = "/t/agency/executions/"
VIEWS = f"{LIST}views/"


@pytest.fixture
def operator(tenant: Tenant, client: Client) -> Client:
    client.force_login(make_member(tenant, Role.OPERATOR))
    return client


def save(client: Client, name: str, query: str) -> str:
    """Where the page leads after saving."""
    answer = client.post(f"{VIEWS}save/", {"name": name, "query": query})
    assert answer.status_code == 302
    return answer.headers["Location"]


def saved(tenant: Tenant) -> dict[str, str]:
    with tenant_scope(tenant):
        return dict(SavedView.objects.values_list("name", "query"))


def test_a_view_keeps_filters_and_range_but_no_place_in_the_list(
    operator: Client, tenant: Tenant
) -> None:
    back = save(operator, "Slow", "?min=30s&status=partial&status=failed&range=7d&after=x&page=2")
    kept = "range=7d&status=failed&status=partial&min=30s"
    assert saved(tenant) == {"Slow": kept}
    assert back == f"{LIST}?{kept}"
    with tenant_scope(tenant):
        assert AuditEvent.objects.filter(action="view.put", subject="Slow").exists()


def test_the_same_name_gets_the_new_filters(operator: Client, tenant: Tenant) -> None:
    save(operator, "Mine", "status=failed")
    save(operator, "Mine", "status=running")
    assert saved(tenant) == {"Mine": "status=running"}


def test_everybody_sees_views_and_which_one_is_shown(
    operator: Client, tenant: Tenant, client: Client
) -> None:
    save(operator, "Failures", "status=failed&range=30d")
    client.force_login(make_member(tenant))
    part = client.get(
        f"{VIEWS}?range=30d&status=failed",
        headers={"HX-Request": "true", "HX-Target": "views-menu"},
    )
    text = unescape(part.content.decode())
    assert "<html" not in text
    assert (
        f'href="{LIST}?range=30d&status=failed" title="status:failed · last 30 days" aria-current="true"'
        in text
    )
    assert "Save for all members" not in text
    assert "view-delete" not in text
    whole = client.get(VIEWS).content.decode()
    assert "<html" in whole
    assert 'aria-current="true"' not in whole


def test_a_view_without_filters_says_so(operator: Client, tenant: Tenant) -> None:
    save(operator, "All", "")
    assert 'title="everything"' in operator.get(VIEWS).content.decode()


def test_a_name_is_needed(operator: Client, tenant: Tenant) -> None:
    save(operator, "  ", "status=failed")
    assert saved(tenant) == {}
    assert "A view needs a name" in operator.get(LIST).content.decode()


def test_filters_that_are_too_long_when_written_are_refused(
    operator: Client, tenant: Tenant
) -> None:
    save(operator, "Long", "error=" + "é" * 1_900)
    assert saved(tenant) == {}
    assert "not too long" in operator.get(LIST).content.decode()


def test_views_end_somewhere(
    operator: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SavedView, "MOST", 2)
    for number in range(3):
        save(operator, f"View {number}", "status=failed")
    save(operator, "View 0", "status=running")
    assert saved(tenant) == {"View 0": "status=running", "View 1": "status=failed"}


def test_an_operator_deletes_one(operator: Client, tenant: Tenant) -> None:
    save(operator, "Old", "status=failed")
    with tenant_scope(tenant):
        view = SavedView.objects.get()
    assert operator.post(f"{VIEWS}{view.pk}/delete/").status_code == 302
    assert saved(tenant) == {}
    assert operator.post(f"{VIEWS}{view.pk}/delete/").status_code == 404


def test_another_tenants_views_stay_hidden(operator: Client, tenant: Tenant) -> None:
    other = make_tenant("other")
    with tenant_scope(other):
        view = SavedView.objects.create(tenant=other, name="Secret", query="status=failed")
    assert "Secret" not in operator.get(VIEWS).content.decode()
    assert operator.post(f"{VIEWS}{view.pk}/delete/").status_code == 404
    save(operator, "Secret", "status=running")
    assert saved(other) == {"Secret": "status=failed"}
