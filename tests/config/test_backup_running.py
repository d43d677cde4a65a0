"""Backup while posts come in; the commands on an embedded database, killed once in the middle."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from config.backup.place import Place, of_cluster
from config.lifeline import lock_file
from config.postgres.cluster import SUPERUSER
from config.postgres.lifetime import server_for_a_command
from config.roles import on_database
from monitoring.metrics.verification import verify
from tenants.tokens import issue_token
from tests.config.backups import database, restore, rows, server, write
from tests.config.servers import WebServer
from tests.config.trees import PATIENCE, Tree, wait_for
from tests.monitoring.factories import make_tenant
from tests.races.senders import Connection, Crowd

pytestmark = pytest.mark.commands

SENDERS = 4
LOAD = 50


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A data folder of its own on which nothing runs."""
    tree = Tree()
    try:
        yield tree
    finally:
        tree.throw_away()


class Posts:
    """Senders that post until the block ends, and what was acknowledged."""

    def __init__(self, port: int, token: str) -> None:
        self.acknowledged: set[str] = set()
        self.refused: list[int] = []
        self._numbers = count()
        self._stop = threading.Event()
        crowd = Crowd(port, token, SENDERS)
        self._thread = threading.Thread(target=crowd.each_does, args=[self._send])

    def _send(self, sender: int, connection: Connection) -> None:
        while not self._stop.is_set():
            name = f"run-{sender}-{next(self._numbers)}"
            body = {"id": name, "workflowId": f"w-{sender}", "status": "success"}
            status = connection.call("POST", "/api/executions", body).status
            if status in (200, 201):
                self.acknowledged.add(name)
            else:
                self.refused.append(status)

    def __enter__(self) -> Posts:
        self._thread.start()
        wait_for(lambda: len(self.acknowledged) > LOAD, PATIENCE, "posts acknowledged")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def output(tree: Tree, *arguments: str) -> str:
    """What a command that must succeed prints."""
    done = tree.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def executions(place: Place) -> set[str]:
    return {name for (name,) in rows(place, "SELECT external_id FROM monitoring_execution")}


def kill_restore_in_the_middle(tree: Tree, file: Path) -> None:
    """kill -9 of `restore` when its new database exists but hasn't taken the old one's place."""
    parameters = tree.cluster.connection_parameters(SUPERUSER, "postgres")
    restore = subprocess.Popen(
        [sys.executable, "-m", "config.cli", "restore", str(file), "--replace"],
        cwd=tree.code,
        env=tree.environment,
        stderr=subprocess.DEVNULL,
    )

    def half_done() -> bool:
        assert restore.poll() is None, "it was done before it could be killed"
        try:
            with psycopg.connect(**parameters | {"dbname": "flowwatch_restoring"}) as session:
                row = session.execute("SELECT to_regclass('tenants_tenant')").fetchone()
                return row is not None and row[0] is not None
        except psycopg.OperationalError:
            return False

    wait_for(half_done, PATIENCE, "the restore is in the middle")
    restore.kill()
    restore.wait()


@pytest.mark.django_db(transaction=True)
def test_a_backup_under_load_holds_all_that_was_acknowledged(
    granian_server: WebServer, tmp_path: Path
) -> None:
    tenant = make_tenant("northwind")
    _, token = issue_token(tenant, name="posts", scopes=["ingest"])
    place = of_cluster(server()).renamed(settings.DATABASES["default"]["NAME"])
    with Posts(granian_server.port, token) as posts:
        before = set(posts.acknowledged)
        archive = write(place, tmp_path / "night.backup")
        wait_for(lambda: len(posts.acknowledged) > len(before) + LOAD, PATIENCE, "posts go on")
    assert posts.refused == []
    assert executions(place) == posts.acknowledged
    with database("restored", migrated=False) as restored:
        restore(archive, restored)
        assert before <= executions(restored) < posts.acknowledged
        with on_database(restored.database):
            assert verify(tenant).differences == 0


def test_an_embedded_database_is_restored_replaced_and_backed_up_by_commands(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_setup: None
) -> None:
    file = tmp_path / "first.backup"
    with database("whole", migrated=True) as place:
        write(place, file)
    monkeypatch.setenv("FLOWWATCH_DATA", str(tree.home))
    with server_for_a_command(tree.cluster):
        embedded = of_cluster(tree.cluster)
        output(tree, "restore", str(file))
        output(tree, "create_tenant", "Northwind", "--slug", "northwind")
        assert "is not empty" in tree.command("restore", str(file)).stderr
        kill_restore_in_the_middle(tree, file)
        output(tree, "prepare", "--no-example")
        assert rows(embedded, "SELECT slug FROM tenants_tenant") == [("northwind",)]

        second = tmp_path / "second.backup"
        output(tree, "backup", str(second), "--with-key")
        output(tree, "restore", str(file), "--replace")
        assert rows(embedded, "SELECT slug FROM tenants_tenant") == []
        key = tree.home / "secret-key"
        before = key.read_text()
        key.write_text("another" * 10)
        assert f"in use now; the one before is kept as {key}." in (
            tree.command("restore", str(second), "--replace").stderr
        )
        assert key.read_text() == before
        assert rows(embedded, "SELECT slug FROM tenants_tenant") == [("northwind",)]
        databases = {name for (name,) in rows(embedded, "SELECT datname FROM pg_database")}
        assert databases == {"postgres", "template0", "template1", "flowwatch"}


def test_nothing_is_restored_while_flowwatch_runs(tree: Tree, tmp_path: Path) -> None:
    lock = lock_file(tree.home / "run.lock")
    assert lock is not None
    refused = tree.command("restore", str(tmp_path / "any.backup"))
    os.close(lock)
    assert "Flowwatch runs with the data folder" in refused.stderr
