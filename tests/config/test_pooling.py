"""Connections kept between requests: used again, tried first, dropped together."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings

from config.pooling.base import DatabaseWrapper, IdleConnections, idle_connections
from config.postgres.cluster import SUPERUSER, Cluster
from tests.database import superuser

pytestmark = pytest.mark.django_db


@pytest.fixture
def wrappers() -> Iterator[list[DatabaseWrapper]]:
    """What three threads would hold, each with a connection."""
    entry: dict[str, Any] = settings.DATABASES["default"] | {"CONN_MAX_AGE": 0}
    made = [DatabaseWrapper(entry, "default") for _ in range(3)]
    for wrapper in made:
        wrapper.ensure_connection()
    yield made
    for wrapper in made:
        wrapper.close()
    idle_connections.close()


def pid(wrapper: DatabaseWrapper) -> int:
    with wrapper.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_the_last_connection_given_back_is_used_next(wrappers: list[DatabaseWrapper]) -> None:
    first, second, _ = wrappers
    kept = pid(second)
    first.close()
    second.close()
    assert pid(first) == kept


def test_one_dead_connection_tells_of_all_and_the_next_is_new(
    wrappers: list[DatabaseWrapper],
) -> None:
    dead = {pid(wrapper) for wrapper in wrappers}
    for wrapper in wrappers:
        wrapper.close()
    with superuser(Cluster(settings.HOME), settings.DATABASES["default"]["NAME"]) as admin:
        for each in dead:
            admin.execute("SELECT pg_terminate_backend(%s, 10000)", [each])
    assert not {pid(wrapper) for wrapper in wrappers} & dead


def test_another_role_gets_no_connection_of_this_one(wrappers: list[DatabaseWrapper]) -> None:
    owner = settings.MIGRATION_DATABASE
    assert owner is not None
    first = wrappers[0]
    first.close()
    first.settings_dict = first.settings_dict | owner
    with first.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (owner["USER"],)
    first.close()
    wrappers[1].close()
    with wrappers[1].cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (settings.APP_ROLE,)


def test_what_is_in_a_transaction_or_broken_is_not_kept(wrappers: list[DatabaseWrapper]) -> None:
    left = pid(wrappers[0])
    assert wrappers[0].connection is not None
    wrappers[0].connection.execute("BEGIN")
    wrappers[0].close()
    assert pid(wrappers[0]) != left


def test_what_nobody_used_for_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.pooling.base.IDLE_SECONDS", 0.0)
    parameters = Cluster(settings.HOME).connection_parameters(SUPERUSER, "postgres")
    idle = IdleConnections()
    made = [psycopg.connect(**parameters, autocommit=True) for _ in range(3)]
    for connection in made:
        idle.give(connection)
    assert [connection.closed for connection in made] == [True, True, False]
    idle.close()
    assert made[2].closed
