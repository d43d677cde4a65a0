"""Connections kept between requests: used again, tried first, dropped together."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import OperationalError

from config.pooling import silence as silence_module
from config.pooling.base import DatabaseWrapper, IdleConnections, idle_connections
from config.pooling.silence import ImpatientConnection, Silence, silence
from config.postgres.cluster import SUPERUSER, Cluster
from tests.config.trees import wait_for
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
    made = [ImpatientConnection.connect(**parameters, autocommit=True) for _ in range(3)]
    for connection in made:
        idle.give(connection)
    assert [connection.closed for connection in made] == [True, True, False]
    idle.close()
    assert made[2].closed


# --- a database that hangs ------------------------------------------------------------------------
@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def speaks() -> bool:
    return is_over(silence)


def test_who_waits_for_a_database_that_hangs_gives_up(
    wrappers: list[DatabaseWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImpatientConnection, "patience", 0.3)
    first, begun = wrappers[0], time.monotonic()
    with stopped(pid(first)), pytest.raises(OperationalError):
        pid(first)
    assert time.monotonic() - begun < 5
    wait_for(speaks, 10, "others may ask again: it answers who comes")
    first.close()
    assert pid(first)


def test_an_idle_connection_that_gives_no_echo_is_known_in_seconds(
    wrappers: list[DatabaseWrapper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence_module, "ECHO_SECONDS", 0.3)
    first, begun = wrappers[0], time.monotonic()
    slept = pid(first)
    first.close()
    with stopped(slept), pytest.raises(OperationalError, match="does not answer"):
        pid(first)
    assert time.monotonic() - begun < 3
    wait_for(speaks, 10, "others may ask again")


def test_while_it_is_silent_all_are_refused_at_once() -> None:
    hears_nothing = Silence()
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        hears_nothing.begin(address)
        time.sleep(2.5)  # longer than somebody tries to connect
        with pytest.raises(psycopg.OperationalError, match="does not answer"):
            hears_nothing.refuse()
    wait_for(lambda: is_over(hears_nothing), 10, "it is away, and says so by itself")


def is_over(heard: Silence) -> bool:
    try:
        heard.refuse()
    except psycopg.OperationalError:
        return False
    return True


def test_an_error_is_an_answer(wrappers: list[DatabaseWrapper]) -> None:
    with pytest.raises(OperationalError), wrappers[0].cursor() as cursor:
        cursor.execute("SET statement_timeout = 50; SELECT pg_sleep(5)")
    assert speaks()
