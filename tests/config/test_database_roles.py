"""The web's role can use what migrations made, and nothing more."""

import pytest
from django.conf import settings
from django.db import ProgrammingError, connection

from config.roles import as_owner

pytestmark = [pytest.mark.django_db, pytest.mark.store]


def current_role() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        row = cursor.fetchone()
    assert row
    return str(row[0])


def test_the_app_role_is_neither_superuser_nor_owner_of_anything() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole,"
            " (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid)"
            " FROM pg_roles WHERE rolname = current_user"
        )
        assert cursor.fetchone() == (False, False, False, False, 0)
    assert current_role() == settings.APP_ROLE


def test_the_app_role_makes_no_tables() -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.intruder (id int)")


@pytest.mark.django_db(transaction=True)
def test_the_owner_is_at_work_only_inside_its_block() -> None:
    assert settings.MIGRATION_DATABASE is not None
    with as_owner():
        assert current_role() == settings.MIGRATION_DATABASE["USER"]
    assert current_role() == settings.APP_ROLE
