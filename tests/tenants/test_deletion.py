"""Deleting a tenant with everything, in steps that may stop at any moment; exporting it before."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from tenants import registry
from tenants.deletion import delete_marked_tenants_step, request_deletion
from tenants.export import export_tenants
from tenants.models import ApiToken, AuditEvent, Membership, Role, Tenant, User
from tenants.scoping import ScopeError, across_tenants, current_tenant
from tests.tenants.factories import make_member, make_tenant, make_token, mark_long_ago

pytestmark = pytest.mark.django_db


@pytest.fixture
def deleters(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Start without the higher apps' parts."""
    empty: list[Any] = []
    monkeypatch.setattr(registry, "_deleters", empty)
    return empty


def steps() -> int:
    """Run the job to its end; return how many steps it took."""
    for count in range(1_000):
        if not delete_marked_tenants_step():
            return count
    raise AssertionError("the job finds no end")


def test_nothing_is_deleted_unasked(deleters: list[Any]) -> None:
    make_member(make_tenant())
    assert not delete_marked_tenants_step()
    assert Tenant.objects.count() == 1


def test_nothing_is_deleted_while_requests_may_still_be_on_their_way(deleters: list[Any]) -> None:
    young, old = make_tenant(), make_tenant()
    request_deletion(young)
    mark_long_ago(old)
    assert steps() == 1
    assert list(Tenant.objects.all()) == [young]


def test_a_marked_tenant_goes_with_everything_of_it(deleters: list[Any]) -> None:
    tenant, other = make_tenant(slug="acme"), make_tenant()
    member = make_member(tenant, Role.OWNER)
    make_member(other)
    make_token(tenant)
    make_token(other)
    mark_long_ago(tenant)
    assert steps() == 1
    assert list(Tenant.objects.all()) == [other]
    with across_tenants():
        assert Membership.objects.count() == ApiToken.objects.count() == 1
        last = AuditEvent.objects.order_by("-id").first()
    assert last is not None
    assert (last.action, last.tenant_label) == ("tenant.deleted", "acme")
    # People may belong elsewhere too; the operator deletes them.
    assert User.objects.filter(pk=member.pk).exists()


def test_the_higher_apps_parts_go_first_in_their_steps(deleters: list[Any]) -> None:
    left = {"executions": 5, "workflows": 2}

    def part(name: str) -> registry.Deleter:
        def delete_some(tenant: Tenant) -> bool:
            assert current_tenant() == tenant
            assert Tenant.objects.filter(pk=tenant.pk).exists()
            left[name] -= 1 if left[name] else 0
            return left[name] > 0

        return delete_some

    for name in left:
        registry.register_deleter(part(name))
    mark_long_ago(make_tenant())
    steps()
    assert left == {"executions": 0, "workflows": 0}
    assert not Tenant.objects.exists()


def test_a_part_that_fails_is_tried_again(deleters: list[Any]) -> None:
    failures = [True]

    def flaky(tenant: Tenant) -> bool:
        if failures:
            failures.pop()
            raise RuntimeError("killed")
        return False

    registry.register_deleter(flaky)
    mark_long_ago(make_tenant())
    with pytest.raises(RuntimeError):
        delete_marked_tenants_step()
    steps()
    assert not Tenant.objects.exists()


def test_asking_twice_is_asking_once(deleters: list[Any]) -> None:
    tenant = make_tenant()
    request_deletion(tenant)
    request_deletion(tenant)
    with across_tenants():
        assert AuditEvent.objects.filter(action="tenant.delete").count() == 1


def test_an_export_holds_the_tenants_data_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    def things(tenant: Tenant) -> Iterator[dict[str, Any]]:
        assert current_tenant() == tenant
        yield {"text": "zwei\nZeilen \u2028 漢字"}

    monkeypatch.setattr(registry, "_exporters", {"things": things})
    tenant = make_tenant(slug="acme", name="Acme")
    member = make_member(tenant, Role.OWNER)
    make_member(make_tenant(), email="foreign@example.com")
    token, secret = make_token(tenant)
    with zipfile.ZipFile(io.BytesIO(b"".join(export_tenants([tenant])))) as archive:
        files = {name: archive.read(name).decode() for name in archive.namelist()}
    rows = {
        name: [json.loads(line) for line in text.splitlines(keepends=False) if line]
        for name, text in files.items()
        if "things" not in name
    }
    assert set(files) == {
        f"acme/{name}.ndjson" for name in ("tenant", "members", "tokens", "audit", "things")
    }
    assert rows["acme/tenant.ndjson"][0]["name"] == "Acme"
    assert [row["user__email"] for row in rows["acme/members.ndjson"]] == [member.email]
    assert rows["acme/tokens.ndjson"][0]["prefix"] == token.prefix
    assert json.loads(files["acme/things.ndjson"])["text"] == "zwei\nZeilen \u2028 漢字"
    everything = "".join(files.values())
    assert secret not in everything
    assert token.digest not in everything
    assert "foreign@example.com" not in everything


def test_an_export_is_read_while_it_is_taken_in_small_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []

    def things(tenant: Tenant) -> Iterator[dict[str, Any]]:
        for number in range(2_000):
            read.append(number)
            yield {"text": chance.randbytes(1_000).hex()}

    chance = random.Random(17)
    monkeypatch.setattr(registry, "_exporters", {"things": things})
    pieces = export_tenants([make_tenant(slug="acme"), make_tenant()])
    sizes, read_before = [], []
    for piece in pieces:
        sizes.append(len(piece))
        read_before.append(len(read))
        with pytest.raises(ScopeError):  # between the steps nobody's scope is left behind
            current_tenant()
    assert len(read) == 4_000
    assert max(after - before for before, after in pairwise(read_before)) < 200
    assert 0 < min(sizes) <= max(sizes) < 256 * 1024


def test_an_export_is_in_the_audit_log_before_its_first_piece() -> None:
    tenant = make_tenant()
    export_tenants([tenant])
    with across_tenants():
        assert AuditEvent.objects.get().action == "tenant.export"


def test_two_exporters_can_not_share_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_exporters", {})
    registry.register_exporter("things", lambda tenant: [])
    with pytest.raises(ValueError, match="things"):
        registry.register_exporter("things", lambda tenant: [])
