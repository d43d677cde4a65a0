"""A database that could lose what was acknowledged, or is newer than this code, starts nothing."""

import os
import socket
from collections.abc import Iterator

import psycopg
import pytest

from config.postgres.binaries import find_binaries
from config.postgres.cluster import DATABASE, SUPERUSER, Cluster
from config.postgres.server import Server
from tests.config.trees import Tree

pytestmark = pytest.mark.commands


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    """A migrated data folder on which nothing runs."""
    tree = Tree()
    try:
        assert tree.command("migrate", "--verbosity", "0").returncode == 0
        yield tree
    finally:
        tree.throw_away()


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
def test_a_database_that_may_lose_data_is_refused(tree: Tree, setting: str) -> None:
    configuration = tree.cluster.data / "postgresql.conf"
    kept = configuration.read_text()
    configuration.write_text(f"{kept}\n{setting} = off\n")
    try:
        words = tree.run_refused()
    finally:
        configuration.write_text(kept)
    assert f"{setting} is off" in words
    assert f"Set {setting} = on" in words
    assert tree.gone()


def test_a_database_of_a_newer_version_is_refused(tree: Tree) -> None:
    statement = (
        "INSERT INTO django_migrations (app, name, applied) VALUES ('tenants', '9999_later', now())"
    )
    server = Server(
        Cluster(tree.cluster.home), find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN"))
    )
    server.start()
    try:
        with psycopg.connect(**tree.cluster.connection_parameters(SUPERUSER, DATABASE)) as admin:
            admin.execute(statement)
    finally:
        server.stop()
    words = tree.run_refused()
    assert "newer Flowwatch" in words
    assert "tenants.9999_later" in words


def test_commands_say_that_migrations_are_missing() -> None:
    tree = Tree()
    try:
        assert tree.command("showmigrations").returncode == 0  # makes the cluster
        for command in (["verify_rollups"], ["create_tenant", "Acme", "--slug", "acme"]):
            said = tree.command(*command)
            assert said.returncode == 1
            assert "lacks migrations" in said.stderr
            assert f"data folder {tree.home}" in said.stderr
            assert "Traceback" not in said.stderr
    finally:
        tree.throw_away()


def test_a_command_without_the_servers_folder_says_so_and_makes_nothing() -> None:
    tree = Tree()
    try:
        tree.home.rmdir()
        for command in (["create_token", "acme", "--scopes", "read"], ["run_retention"]):
            said = tree.command(*command)
            assert said.returncode == 1
            assert f"data folder {tree.home}" in said.stderr
            assert "another FLOWWATCH_DATA, or with DATABASE_URL" in said.stderr
        with socket.create_server(("127.0.0.1", tree.port)):
            assert f"port {tree.port}" in tree.run_refused()
        assert not tree.home.exists()
    finally:
        tree.home.mkdir(exist_ok=True)
        tree.throw_away()
