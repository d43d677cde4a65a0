"""Statements of pages keep their plan, and are counted like every other."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.postgres.cluster import Cluster
from monitoring.prepared import fetch_all, prepared
from tenants.models import Tenant
from tests.database import superuser
from tests.monitoring.factories import (
    make_environment,
    make_execution,
    make_member,
    make_tenant,
    make_workflow,
)

pytestmark = pytest.mark.django_db

STATEMENT = "SELECT %s::int + 1 AS prepared_by_this_test"


def test_a_statement_is_planned_once_for_all_parameters() -> None:
    assert [fetch_all(STATEMENT, [number]) for number in (1, 2, 3)] == [[(2,)], [(3,)], [(4,)]]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements"
            " WHERE statement LIKE '%prepared_by_this_test%'"
        )
        assert cursor.fetchall() == [(3, 0)]


def test_it_counts_as_one_query() -> None:
    with CaptureQueriesContext(connection) as captured:
        fetch_all(STATEMENT, [1])
    assert len(captured) == 1


def test_errors_are_those_of_django() -> None:
    with pytest.raises(DatabaseError):
        fetch_all("SELECT 1 / %s::int", [0])


def test_what_django_asks_can_be_prepared_too() -> None:
    question = Tenant.objects.filter(name__startswith="prepared by this block")
    with prepared():
        assert list(question) == []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s",
            ["%tenants_tenant%name%LIKE%"],
        )
        assert cursor.fetchone() == (1,)
    with CaptureQueriesContext(connection) as captured, prepared():
        assert list(question.all()) == []
    assert len(captured) == 1


@contextmanager
def other_types(*columns: str) -> Iterator[None]:
    """As if a migration had changed the type of these columns ("table.column"), for a while."""
    cluster, name = Cluster(settings.HOME), connection.settings_dict["NAME"]
    with superuser(cluster, name) as admin:
        types = {
            column: admin.execute(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                " WHERE attrelid = split_part(%s, '.', 1)::regclass"
                " AND attname = split_part(%s, '.', 2)",
                [column, column],
            ).fetchone()
            for column in columns
        }
        alter = "ALTER TABLE {} ALTER COLUMN {} TYPE {}"
        for column in columns:
            admin.execute(alter.format(*column.split("."), "varchar(400)").encode())
        try:
            yield
        finally:
            for column, found in types.items():
                assert found
                admin.execute(alter.format(*column.split("."), found[0]).encode())


@pytest.mark.django_db(transaction=True)
def test_pages_outlive_a_change_of_their_columns_types(client: Client) -> None:
    tenant = make_tenant("agency")
    workflow = make_workflow(make_environment(tenant))
    execution = make_execution(workflow)
    client.force_login(make_member(tenant))
    pages = [
        "/t/agency/",
        "/t/agency/executions/",
        f"/t/agency/executions/{execution.id}/",
        "/t/agency/workflows/",
        f"/t/agency/workflows/{workflow.pk}/",
    ]
    for _ in range(2):
        assert [client.get(page).status_code for page in pages] == [200] * len(pages)
    with other_types("monitoring_workflow.name", "monitoring_execution.trigger_type"):
        answers = {page: client.get(page).status_code for page in pages}
    assert set(answers.values()) == {200}, answers
    assert [client.get(page).status_code for page in pages] == [200] * len(pages)
