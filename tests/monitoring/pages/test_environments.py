"""Settings → Environments."""

from __future__ import annotations

import pytest
from django.test import Client

from monitoring.environments import create_environment
from monitoring.models import Environment
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

pytestmark = pytest.mark.django_db
LIST = "/t/agency/settings/environments/"


def slugs(tenant: Tenant) -> list[str]:
    with tenant_scope(tenant):
        return sorted(Environment.objects.values_list("slug", flat=True))


def post(client: Client, address: str = LIST, **fields: str) -> int:
    values = {"name": "n8n EU", "provider": "n8n", "base_url": ""} | fields
    return client.post(address, values).status_code


def test_an_environment_gets_a_short_name_that_is_free(admin: Client, tenant: Tenant) -> None:
    for name in ("n8n EU", "n8n-eu", "漢字", "default!", "x" * 255):
        assert post(admin, name=name) == 302, name
    expected = ["default", "default-2", "environment", "n8n-eu", "n8n-eu-2", "x" * 56]
    assert slugs(tenant) == expected


def test_many_names_without_a_latin_letter_find_short_names(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        made = [
            create_environment(tenant, name=f"漢字 {'一' * number}", provider="n8n", base_url="")
            for number in range(1, 120)
        ]
    assert len({environment.slug for environment in made}) == 119


def test_a_name_that_another_has_is_refused_at_its_field(admin: Client, tenant: Tenant) -> None:
    assert post(admin, name="n8n EU") == 302
    assert post(admin, name=" N8N eu ") == 422
    with tenant_scope(tenant):
        made = Environment.objects.get(name="n8n EU")
    assert post(admin, f"{LIST}{made.pk}/", name="n8n EU") == 302, "its own is not another's"
    assert slugs(tenant) == ["default", "n8n-eu"]


def test_making_and_changing_are_audited(admin: Client, tenant: Tenant) -> None:
    post(admin)
    with tenant_scope(tenant):
        made = Environment.objects.get(slug="n8n-eu")
    assert (
        post(admin, f"{LIST}{made.pk}/", name="n8n Asia", base_url="https://n8n.example.com") == 302
    )
    with tenant_scope(tenant):
        made.refresh_from_db()
        actions = list(AuditEvent.objects.order_by("pk").values_list("action", flat=True))
    assert (made.name, made.slug, made.base_url) == (
        "n8n Asia",
        "n8n-eu",
        "https://n8n.example.com",
    )
    assert actions[-2:] == ["environment.create", "environment.change"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"provider": "nonsense"},
        {"provider": "flowwatch"},
        {"base_url": "javascript:alert(1)"},
        {"base_url": "not an address"},
        {"name": "a\x00b"},
    ],
)
def test_nonsense_is_refused_and_nothing_typed_is_lost(
    admin: Client, tenant: Tenant, fields: dict[str, str]
) -> None:
    assert post(admin, **fields) == 422
    assert slugs(tenant) == ["default"]


def test_the_list_counts_workflows(admin: Client, tenant: Tenant) -> None:
    environment = make_environment(tenant, name="<b>n8n</b>")
    for _ in range(3):
        make_workflow(environment)
    page = admin.get(LIST).content.decode()
    assert "&lt;b&gt;n8n&lt;/b&gt;" in page
    assert '<td class="num" data-label="Workflows">3</td>' in page


def test_only_admins_see_it_and_foreign_ones_are_unknown(tenant: Tenant, client: Client) -> None:
    foreign = make_environment(make_tenant("other"))
    for role, status in ((Role.VIEWER, 403), (Role.OPERATOR, 403), (Role.ADMIN, 200)):
        client.force_login(make_member(tenant, role))
        assert client.get(LIST).status_code == status
        assert post(client) == (302 if status == 200 else 403)
    for pk in (foreign.pk, 2**63, 10**30):
        assert client.get(f"{LIST}{pk}/").status_code == 404
        assert post(client, f"{LIST}{pk}/") == 404
