"""What earlier versions stored is read by today's code, page by page, after restore and migration."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.apps import apps
from django.core.management import call_command
from pytest_django.plugin import DjangoDbBlocker

from config.backup import rights
from config.backup.archive import Archive
from config.backup.manifest import Manifest, count_rows, refuse_newer
from config.backup.place import Place, of_cluster
from config.postgres.cluster import DATABASE
from config.roles import on_database
from monitoring.metrics.verification import verify
from monitoring.models import Execution
from monitoring.recording.payload import unpack
from monitoring.recording.tables import ensure_partitions
from tenants.models import Membership, Role, Tenant, User
from tenants.scoping import across_tenants, tenant_scope
from tests.config.backups import database, programs, restore, rows, server
from tests.security.addresses import all_addresses
from tests.security.calling import call, path_of
from tests.security.entries import ENTRIES
from tests.security.rules import Values
from tests.security.world import Actor, Ids
from tests.tenants.factories import signed_in_as
from tests.upgrade.make_dump import DUMPS

pytestmark = pytest.mark.store

FILES = sorted(DUMPS.glob("*.backup"))
UNKNOWN = 2**40
"""Stands for the ids of what a dump's version did not have yet."""

REMOVED: frozenset[str] = frozenset()
"""Tables that a version has dropped on purpose, with what they held."""

COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, 2
"""
INDEXES = """
    SELECT t.relname, i.relname FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition AND x.indisvalid ORDER BY 1, 2
"""


@dataclasses.dataclass(frozen=True)
class Upgraded:
    """A dump that was restored and brought up to date."""

    place: Place
    manifest: Manifest
    ids: Ids


@pytest.fixture(scope="module", params=FILES, ids=lambda file: file.stem)
def upgraded(
    request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[Upgraded]:
    file: Path = request.param
    archive = Archive(file)
    refuse_newer(archive.manifest, programs().major)
    with database("dump", migrated=False) as place:
        restore(archive, place)
        with django_db_blocker.unblock(), on_database(place.database):
            call_command("migrate", interactive=False, verbosity=0)
            ensure_partitions()
            yield Upgraded(place, archive.manifest, read_ids(file.with_suffix(".json")))


def read_ids(file: Path) -> Ids:
    """What the things of the dump are called; UNKNOWN for what Ids got later."""
    stored = msgspec.json.decode(file.read_bytes())
    missing = {each.name: UNKNOWN for each in dataclasses.fields(Ids) if each.name not in stored}
    return msgspec.convert(stored | missing, Ids)


def test_its_schema_and_rights_are_those_of_a_new_database(upgraded: Upgraded) -> None:
    new = of_cluster(server()).renamed(DATABASE)
    for query in (COLUMNS, INDEXES):
        assert rows(upgraded.place, query) == rows(new, query)
    assert rights_by_name(upgraded.place) == rights_by_name(new)


def rights_by_name(place: Place) -> dict[str, rights.Right]:
    """Without partitions, which differ by the week."""
    with place.connect() as session:
        found = rights.read(session, place.app_role)
    return {right.name: right for right in found if not right.name[-8:].isdigit()}


def test_no_row_is_lost(upgraded: Upgraded) -> None:
    with upgraded.place.connect() as session:
        now = count_rows(session)
    fewer = {
        name: (number, now.get(name, 0))
        for name, number in upgraded.manifest.rows.items()
        if name not in REMOVED and now.get(name, 0) < number
    }
    assert fewer == {}
    assert upgraded.manifest.rows["monitoring_execution"] > 30


def test_every_row_is_read(upgraded: Upgraded) -> None:
    with across_tenants():
        for model in apps.get_models():
            for row in model._base_manager.all():
                str(row)
        for execution in Execution.objects.all():
            unpack(execution.payload)


def test_its_numbers_equal_its_rows(upgraded: Upgraded) -> None:
    for tenant in Tenant.objects.living():
        with tenant_scope(tenant):
            differences: list[Any] = []
            verify(tenant, tell=differences.append)
            assert differences == []


def test_every_address_answers_its_owner(upgraded: Upgraded) -> None:
    actor = owner(upgraded.ids)
    wrong, visited = [], 0
    for address in all_addresses():
        entry = ENTRIES[address.key]
        said = entry.calls.get("GET")
        if said is None or said.rule.refusal(actor) is not None:
            continue
        for names in entry.names:
            values = names(upgraded.ids)
            if UNKNOWN in values.values():
                continue
            answer = call(
                actor,
                "GET",
                path_of(address, entry, upgraded.ids.slug, values),
                query=query_of(entry.fixed),
            )
            visited += 1
            if answer.status not in said.statuses:
                wrong.append(f"{address.key} answers {answer.status}: {answer.body[:200]!r}")
    assert not wrong, "\n".join(wrong)
    assert visited > 100


def query_of(fixed: Values) -> dict[str, Any]:
    return dict(fixed.get("?", {}))


def owner(ids: Ids) -> Actor:
    """Who owns the dump's tenant and operates the installation: sees every page."""
    with across_tenants():
        membership = Membership.objects.filter(tenant_id=ids.tenant, role=Role.OWNER).first()
    assert membership is not None
    User.objects.filter(pk=membership.user_id).update(is_staff=True, is_superuser=True)
    session = signed_in_as(User.objects.get(pk=membership.user_id)).session.session_key
    return Actor("owner", str(session), role=Role.OWNER, is_staff=True, is_superuser=True)
