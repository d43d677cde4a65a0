"""Backup and restore on the test run's server: all of it comes back, or nothing is touched."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import gc
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker

from config.backup import manifest as manifests
from config.backup import restoring, turns
from config.backup.archive import DUMP, MANIFEST, Archive, Draft, written_whole
from config.backup.dumping import write_backup
from config.backup.manifest import key_mark, refuse_newer
from config.backup.place import Place, Refused
from config.home import SOURCE_ROOT
from config.postgres.binaries import DatabaseUnavailable, client_for
from config.roles import default_privileges, on_database
from tenants.models import Tenant
from tests.config.backups import as_app, database, programs, restore, rows, write
from tests.database import database_url

pytestmark = [pytest.mark.store, pytest.mark.usefixtures("django_db_setup")]

TENANTS = "SELECT name FROM tenants_tenant ORDER BY id"
# Everything that is read of another database: objects, their owners, rights, partitions, bodies.
SCHEMA = """
    SELECT c.relkind::text, c.relname, pg_get_userbyid(c.relowner), c.reloptions,
        (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) a),
        pg_get_expr(c.relpartbound, c.oid),
        (SELECT array_agg((conname, contype, convalidated)::text ORDER BY conname)
            FROM pg_constraint WHERE conrelid = c.oid)
    FROM pg_class c WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""
FUNCTIONS = """
    SELECT proname, pg_get_userbyid(proowner), prosecdef, proconfig, prosrc,
        (SELECT array_agg(a::text ORDER BY a::text)
            FROM unnest(coalesce(proacl, acldefault('f', proowner))) a)
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1
"""


FOR_EVERYBODY = """
    SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) right_
    WHERE pronamespace = 'public'::regnamespace AND prosecdef AND right_.grantee = 0
"""
# Where the schema doesn't matter: a hundred tables take seconds.
FEW_TABLES = """
    CREATE TABLE tenants_tenant (id bigserial PRIMARY KEY, name text, slug text, created_at timestamptz);
    CREATE TABLE tenants_auditevent (id bigint);
    CREATE TABLE django_migrations (id bigserial, app text, name text);
    INSERT INTO django_migrations (app, name) VALUES ('tenants', '0001_initial')
"""


@pytest.fixture
def whole(django_db_blocker: DjangoDbBlocker) -> Iterator[Place]:
    """A database at today's schema with two tenants."""
    with database("whole", migrated=True) as place:
        with django_db_blocker.unblock(), on_database(place.database):
            for name in ("Northwind", "Contoso"):
                Tenant.objects.create(name=name, slug=name.lower())
        yield place


@pytest.fixture
def old() -> Iterator[Place]:
    """A database with two tenants and few tables."""
    with database("old", migrated=False) as place:
        with place.connect() as session:
            for statement in default_privileges(place.owner_role, place.app_role):
                session.execute(statement)
            session.execute(FEW_TABLES)
        add_tenants(place, "Northwind", "Contoso")
        yield place


@pytest.fixture
def empty() -> Iterator[Place]:
    """A database without tables."""
    with database("empty", migrated=False) as place:
        yield place


def add_tenants(place: Place, *names: str) -> None:
    with place.connect() as session:
        for name in names:
            session.execute(
                "INSERT INTO tenants_tenant (name, slug, created_at) VALUES (%s, %s, now())",
                [name, name.lower()],
            )


def databases_beside(place: Place) -> set[str]:
    """What a restore makes and must not leave."""
    databases = {name for (name,) in rows(place, "SELECT datname FROM pg_database")}
    return {name for name in databases if name.startswith(f"{place.database}_")}


def test_all_comes_back_with_its_owners_rights_and_functions(
    whole: Place, empty: Place, tmp_path: Path
) -> None:
    file = tmp_path / "all.backup"
    restore(write(whole, file), empty)
    assert file.stat().st_mode & 0o777 == 0o600
    assert rows(empty, TENANTS) == [("Northwind",), ("Contoso",)]
    assert rows(empty, SCHEMA) == rows(whole, SCHEMA)
    assert rows(empty, FUNCTIONS) == rows(whole, FUNCTIONS)
    with as_app(empty) as session:
        session.execute("SELECT flowwatch_ensure_partitions(now() + interval '90 days')")
        session.execute("INSERT INTO django_content_type (app_label, model) VALUES ('a', 'b')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM tenants_auditevent")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("CREATE TABLE public.intruder (id int)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute(
                "SELECT flowwatch_add_partition('monitoring_execution', 'x', NULL, NULL, 'id')"
            )


def test_what_commits_after_the_snapshot_is_not_in_it(
    old: Place, empty: Place, tmp_path: Path
) -> None:
    archive = write(old, tmp_path / "before.backup")
    add_tenants(old, "Later")
    restore(archive, empty)
    assert archive.manifest.rows["tenants_tenant"] == 2
    assert rows(empty, TENANTS) == [("Northwind",), ("Contoso",)]


def test_a_database_that_holds_something_is_replaced_only_when_told(
    old: Place, tmp_path: Path
) -> None:
    archive = write(old, tmp_path / "all.backup")
    add_tenants(old, "Later")
    with pytest.raises(Refused, match=r"is not empty.*--replace"):
        restore(archive, old)
    assert len(rows(old, TENANTS)) == 3
    restore(archive, old, replace=True)
    assert len(rows(old, TENANTS)) == 2


def test_a_database_that_is_used_is_not_replaced(
    old: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "PATIENCE_SECONDS", 0.1)
    archive = write(old, tmp_path / "all.backup")
    with as_app(old), pytest.raises(Refused, match=r"is in use.*flowwatch_app.*end Flowwatch"):
        restore(archive, old, replace=True)


def test_nobody_can_write_to_what_is_about_to_be_replaced(old: Place, tmp_path: Path) -> None:
    """It would be gone with the old database, however often it was acknowledged."""
    archive = write(old, tmp_path / "all.backup")
    with restoring.destination(old, replace=True) as (new, one_transaction):
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            as_app(old)
        restoring.fill(new, archive, programs(), one_transaction=one_transaction)
    with as_app(old) as session:
        assert len(session.execute(TENANTS.encode()).fetchall()) == 2


def test_who_comes_just_before_it_is_closed_is_noticed(
    old: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write(old, tmp_path / "all.backup")
    monkeypatch.setattr(restoring, "PATIENCE_SECONDS", 0.1)
    come: list[psycopg.Connection[Any]] = []

    def allow_connections(admin: psycopg.Connection[Any], database: str, allowed: bool) -> None:
        if not allowed:
            come.append(as_app(old))
        turns.allow_connections(admin, database, allowed)

    monkeypatch.setattr(restoring, "allow_connections", allow_connections)
    with pytest.raises(Refused, match="is in use"):
        restore(archive, old, replace=True)
    come[0].execute("DELETE FROM tenants_tenant WHERE slug = 'contoso'")
    assert rows(old, TENANTS) == [("Northwind",)]


def test_two_restores_at_once_are_told_apart(
    old: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "PATIENCE_SECONDS", 0.1)
    archive = write(old, tmp_path / "all.backup")
    with restoring.destination(old, replace=True) as (new, one_transaction):
        with pytest.raises(Refused, match="Another restore of the database"):
            restore(archive, old, replace=True)
        restoring.clear_leftovers(old)
        restoring.fill(new, archive, programs(), one_transaction=one_transaction)
    assert len(rows(old, TENANTS)) == 2


@pytest.mark.parametrize("by", ["the next start", "the next restore"])
def test_what_a_killed_restore_left_is_cleared_up(old: Place, tmp_path: Path, by: str) -> None:
    archive = write(old, tmp_path / "all.backup")
    names = (turns.restoring_name(old.database), turns.replaced_name(old.database))
    with old.connect_admin() as admin:
        for name in names:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        for name in (old.database, names[1]):
            turns.allow_connections(admin, name, False)
    with pytest.raises(Refused, match="not currently accepting connections"):
        old.connect()
    if by == "the next start":
        restoring.clear_leftovers(old)
    else:
        restore(archive, old, replace=True)
    assert len(rows(old, TENANTS)) == 2
    assert databases_beside(old) == set()


def test_only_what_a_restore_left_is_cleared_up_by_a_start(old: Place) -> None:
    """Somebody's own database may be called like that."""
    for name in (turns.restoring_name(old.database), turns.replaced_name(old.database)):
        with old.connect_admin() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            restoring.clear_leftovers(old)
            assert databases_beside(old) == {name}
            turns.drop(admin, name)


class Returning:
    """Somebody who connects to the new database again as soon as a restore has ended all sessions."""

    def __init__(self, place: Place, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
        self.place, self.times = place, times
        self.sessions: list[psycopg.Connection[Any]] = []
        self._end = restoring._end_sessions
        monkeypatch.setattr(restoring, "_end_sessions", self)

    def __call__(self, admin: psycopg.Connection[Any], database: str) -> None:
        self._end(admin, database)
        if len(self.sessions) < self.times:
            self.sessions.append(as_app(self.place.renamed(database)))


def test_who_comes_back_just_before_the_swap_does_not_end_it(
    old: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write(old, tmp_path / "all.backup")
    add_tenants(old, "Later")
    returning = Returning(old, monkeypatch, times=1)
    restore(archive, old, replace=True)
    assert len(returning.sessions) == 1
    assert len(rows(old, TENANTS)) == 2


def test_who_always_comes_back_is_told_of_and_the_old_data_stay(
    old: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "SWAP_TRIES", 1)
    archive = write(old, tmp_path / "all.backup")
    add_tenants(old, "Later")
    Returning(old, monkeypatch, times=100)
    with pytest.raises(Refused, match=r"being accessed by other users.*restore again"):
        restore(archive, old, replace=True)
    assert len(rows(old, TENANTS)) == 3


def test_what_goes_wrong_before_the_swap_leaves_the_old_data(old: Place, tmp_path: Path) -> None:
    archive = write(old, tmp_path / "all.backup")
    add_tenants(old, "Later")

    def restore_and_fail() -> None:
        with restoring.destination(old, replace=True) as (new, one_transaction):
            restoring.fill(new, archive, programs(), one_transaction=one_transaction)
            raise RuntimeError("a migration failed")

    with pytest.raises(RuntimeError):
        restore_and_fail()
    assert len(rows(old, TENANTS)) == 3
    assert databases_beside(old) == set()


@pytest.mark.parametrize("damage", ["cut off", "changed"])
def test_a_damaged_file_is_refused_and_nothing_is_touched(
    old: Place, tmp_path: Path, damage: str
) -> None:
    file = tmp_path / "all.backup"
    write(old, file)
    body = bytearray(file.read_bytes())
    if damage == "cut off":
        body = body[: len(body) // 2]
    else:
        body[len(body) // 2] ^= 1
    file.write_bytes(body)
    with pytest.raises(Refused, match=r"no whole backup|damaged"):
        restore(Archive(file), old, replace=True)
    assert len(rows(old, TENANTS)) == 2


@pytest.fixture(scope="module")
def small() -> bytes:
    """A backup with all that one may hold."""
    manifest = manifests.Manifest(
        made_at=dt.datetime(2026, 11, 22, tzinfo=dt.UTC), version="1", postgres=18, programs=18,
        migrations=["tenants.0001_initial"], rows={"tenants_tenant": 2}, rights=None, key="0" * 16,
    )  # fmt: skip
    target = io.BytesIO()
    with Draft(target) as draft:
        with draft.dump() as dump:
            dump.write(bytes(range(256)) * 8)
        draft.finish(manifest, "secret")
    return target.getvalue()


def contents(file: Path) -> tuple[manifests.Manifest, str | None, bytes]:
    archive = Archive(file)
    with archive.dump() as dump:
        return archive.manifest, archive.secret_key, dump.read()


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_happened_to_a_file_it_is_read_as_it_was_or_refused(
    small: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.backup"
    file.write_bytes(small)
    whole = contents(file)
    body = bytearray(small[: data.draw(st.integers(0, len(small)) | st.just(len(small)))])
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(small)), st.integers(0, 255)), max_size=4)
    ):
        body[place : place + 1] = bytes([byte])
    file.write_bytes(body)
    try:
        read = contents(file)
    except Refused:
        return
    # The name of the key's entry may be what was changed.
    assert read in (whole, (whole[0], None, whole[2]))


class Full(io.RawIOBase):
    """A disk that takes so much and no more."""

    def __init__(self, room: int) -> None:
        self._room = room

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._room -= len(piece)
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(piece)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("room", [0, 100, 1_000])
def test_a_full_disk_is_told_of_once(old: Place, room: int) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_backup(cast("IO[bytes]", Full(room)), old, programs())
    gc.collect()


def test_fewer_rows_than_the_backup_says_are_noticed(old: Place, tmp_path: Path) -> None:
    archive = write(old, tmp_path / "all.backup")
    more = archive.manifest.rows | {"tenants_tenant": 3}
    archive.manifest = msgspec.structs.replace(archive.manifest, rows=more)
    with pytest.raises(Refused, match="tenants_tenant: 2 instead of 3"):
        restore(archive, old, replace=True)
    assert len(rows(old, TENANTS)) == 2


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.zip"
    with zipfile.ZipFile(file, "w") as other:
        other.writestr(DUMP, b"")
    with pytest.raises(Refused, match="no whole backup"):
        Archive(file)
    with zipfile.ZipFile(file, "a") as other:
        other.writestr(MANIFEST, b'{"format": "another"}')
    with pytest.raises(Refused, match="no backup of Flowwatch"):
        Archive(file)


def test_a_newer_flowwatchs_backup_is_refused(old: Place, tmp_path: Path) -> None:
    manifest = write(old, tmp_path / "all.backup").manifest
    refuse_newer(manifest, 18)
    later = [*manifest.migrations, "tenants.9999_later", "not_ours.0001_initial"]
    with pytest.raises(Refused, match=r"newer Flowwatch.*tenants\.9999_later, which"):
        refuse_newer(msgspec.structs.replace(manifest, migrations=later), 18)
    with pytest.raises(Refused, match="is of PostgreSQL 19"):
        refuse_newer(msgspec.structs.replace(manifest, postgres=19), 18)


def test_an_interrupted_backup_leaves_no_file_and_the_next_takes_over(tmp_path: Path) -> None:
    file = tmp_path / "all.backup"

    def interrupt() -> None:
        with written_whole(file, overwrite=False) as half:
            half.write(b"half")
            with (
                pytest.raises(Refused, match="Another backup"),
                written_whole(file, overwrite=False),
            ):
                pass
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []
    # kill -9 cleans up nothing
    file.with_name("all.backup.partial").write_bytes(b"much longer than the next")
    with written_whole(file, overwrite=False) as whole:
        whole.write(b"whole")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"all.backup": b"whole"}
    with pytest.raises(Refused, match="exists already"), written_whole(file, overwrite=False):
        pass


def test_nothing_is_written_through_what_somebody_put_in_the_way(tmp_path: Path) -> None:
    file, partial, victim = (tmp_path / name for name in ("all.backup", "all.backup.partial", "v"))
    victim.write_bytes(b"precious")

    def strangers_file() -> None:
        partial.touch()
        os.chown(partial, 65534, -1)

    in_the_way: dict[str, Callable[[], object]] = {
        "a link": lambda: partial.symlink_to(victim),
        "a pipe": lambda: os.mkfifo(partial),
        "a folder": partial.mkdir,
    }
    if os.geteuid() == 0:
        in_the_way["somebody else's file"] = strangers_file
    for what, put in in_the_way.items():
        put()
        with (
            pytest.raises(Refused, match="is in the way"),
            written_whole(file, overwrite=False),
        ):
            pytest.fail(what)
        partial.rmdir() if what == "a folder" else partial.unlink()
    assert victim.read_bytes() == b"precious"


def test_what_it_left_is_never_written_into(tmp_path: Path) -> None:
    """Somebody may hold it open, or may read it by its rights or by another name."""
    file, partial, other = (tmp_path / name for name in ("all.backup", "all.backup.partial", "o"))
    partial.touch()
    partial.chmod(0o666)
    other.hardlink_to(partial)
    with written_whole(file, overwrite=False) as whole:
        whole.write(b"key")
    assert other.read_bytes() == b""
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_nobody_may_create_databases_an_empty_one_is_filled(
    old: Place, empty: Place, tmp_path: Path
) -> None:
    archive = write(old, tmp_path / "all.backup")
    restore(archive, dataclasses.replace(empty, admin=None))
    assert len(rows(empty, TENANTS)) == 2
    with pytest.raises(Refused, match="may not create databases"):
        restore(archive, dataclasses.replace(empty, admin=None), replace=True)


def test_one_role_for_all_can_become_two(old: Place, empty: Place, tmp_path: Path) -> None:
    alone = dataclasses.replace(old, app_role=old.owner_role)
    archive = write(alone, tmp_path / "one-role.backup")
    assert archive.manifest.rights is None
    restore(archive, empty)
    with as_app(empty) as session:
        assert session.execute(TENANTS.encode()).fetchall() == rows(old, TENANTS)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("DELETE FROM tenants_auditevent")


def test_functions_with_the_owners_rights_are_for_nobody_else_by_any_way(
    whole: Place, empty: Place, tmp_path: Path
) -> None:
    """From two roles to one, and from that to two again."""
    one_role = dataclasses.replace(empty, app_role=empty.owner_role)
    restore(write(whole, tmp_path / "two.backup"), one_role)
    assert rows(empty, FOR_EVERYBODY) == []
    restore(write(one_role, tmp_path / "one.backup"), empty, replace=True)
    assert rows(empty, FOR_EVERYBODY) == []
    with as_app(empty) as session:
        session.execute("SELECT flowwatch_ensure_partitions(now() + interval '90 days')")


def test_programs_older_than_the_server_are_refused() -> None:
    assert client_for(programs().major).major >= programs().major
    with pytest.raises(DatabaseUnavailable, match=r"The server is PostgreSQL 99.*Install"):
        client_for(99)


def test_two_keys_are_told_apart_and_neither_is_told() -> None:
    key = "k" * 50
    assert key_mark(key) == key_mark(key) != key_mark(key + "k")
    assert key not in key_mark(key)


def test_the_commands_work_with_a_database_of_the_operators(
    whole: Place, empty: Place, tmp_path: Path
) -> None:
    """`DATABASE_URL`, a role that may not create databases, standard output, another key."""

    def command(
        place: Place, *arguments: str, key: str, output: int = subprocess.PIPE
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=SOURCE_ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": database_url(place.app_role, place.database),
                "MIGRATION_DATABASE_URL": database_url(place.owner_role, place.database),
                "SECRET_KEY": key * 50,
            },
            stdout=output,
            stderr=subprocess.PIPE,
            timeout=120,
        )

    written = command(whole, "backup", "-", key="a")
    assert b"SECRET_KEY of the environment" in written.stderr
    file = tmp_path / "all.backup"
    file.write_bytes(written.stdout)
    manifest = Archive(file).manifest
    assert manifest == manifests.decode(manifests.encode(manifest))
    restored = command(empty, "restore", str(file), key="b")
    assert restored.returncode == 0, restored.stderr.decode()
    assert b"another secret key" in restored.stderr
    assert rows(empty, TENANTS) == rows(whole, TENANTS)
    assert rows(empty, SCHEMA) == rows(whole, SCHEMA)
    reader, writer = os.pipe()
    os.close(reader)
    unread = command(whole, "backup", "-", key="a", output=writer)
    os.close(writer)
    assert unread.returncode == 1
    assert unread.stderr.decode().count("\n") == 1
    assert b"can't be written: Broken pipe" in unread.stderr
    refused = command(whole, "restore", str(file), "--replace", key="b")
    assert refused.returncode == 1
    assert b"may not create databases" in refused.stderr
