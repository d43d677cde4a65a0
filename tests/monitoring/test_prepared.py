"""Statements of pages keep their plan, and are counted like every other."""

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from monitoring.prepared import fetch_all, prepared
from tenants.models import Tenant

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
