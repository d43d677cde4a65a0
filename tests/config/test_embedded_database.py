"""The embedded PostgreSQL: closed to others, durable, never silently converted or shared."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from config.home import Home, home_from
from config.postgres import creation, guard, leftovers
from config.postgres.binaries import DatabaseUnavailable, find_binaries
from config.postgres.cluster import APP_ROLE, LONGEST_SOCKET_FOLDER, SUPERUSER, Cluster
from config.postgres.server import Server, check_version
from config.postgres.system_user import database_user
from tests.config.trees import Tree

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A data folder that the database's own system user may enter."""
    tree = Tree()
    yield Home(tree.home, AS_ROOT)
    tree.throw_away()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.store
def test_a_new_cluster_is_closed_and_durable_and_survives_a_crash(home: Home) -> None:
    cluster = Cluster(home)
    binaries = find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN"))
    server = Server(cluster, binaries)
    server.start()
    try:
        assert mode(cluster.socket_folder) == 0o700
        assert mode(cluster.data) == 0o700
        assert {mode(file) for file in home.path.glob("database-password-*")} == {0o600}
        with psycopg.connect(**cluster.connection_parameters(SUPERUSER)) as connection:
            shown = {
                name: connection.execute(f"SHOW {name}".encode()).fetchone()
                for name in ("fsync", "full_page_writes", "synchronous_commit", "listen_addresses")
            }
            rules = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
            assert rules.fetchall() == [("scram-sha-256",)]
        assert shown == {
            "fsync": ("on",),
            "full_page_writes": ("on",),
            "synchronous_commit": ("on",),
            "listen_addresses": ("",),
        }
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(**cluster.connection_parameters(APP_ROLE) | {"password": "guess"})
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        again = Server(cluster, binaries)
        again.start()
        again.stop()
    finally:
        server.stop()
    assert not leftovers.processes_of(cluster.data)


def test_a_pid_file_that_names_somebody_else_is_not_believed(home: Home) -> None:
    data = Cluster(home).data
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")
    leftovers.clear_leftovers(data)
    assert not (data / "postmaster.pid").exists()


def test_a_socket_whose_lock_names_somebody_who_lives_is_taken_over(home: Home) -> None:
    """As after a kill -9, when the dead server's number is a new process's, or not reaped yet."""
    cluster = Cluster(home)
    server = Server(cluster, find_binaries())
    server.start()
    somebody = subprocess.Popen(["sleep", "60"], **database_user().process_options())
    try:
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        lock = cluster.socket_lock.read_text().split("\n", 1)
        cluster.socket_lock.write_text(f"{somebody.pid}\n{lock[1]}")
        server.start()
    finally:
        somebody.kill()
        somebody.wait()
        server.stop()


def test_files_of_another_major_version_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("14\n")
    with pytest.raises(
        DatabaseUnavailable, match=r"PostgreSQL 14.*Nothing was changed.*upgrade_database"
    ):
        check_version(tmp_path, 18)
    check_version(tmp_path, 14)


@pytest.mark.skipif(not AS_ROOT, reason="only root has another user run PostgreSQL")
def test_a_folder_that_the_system_user_cannot_enter_is_refused_by_name(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = Server(Cluster(Home(closed / "data", run_as_root=True)), find_binaries())
    with pytest.raises(DatabaseUnavailable, match="may not enter"):
        server.start()


def test_a_platform_without_binaries_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("config.postgres.binaries._from_wheel", lambda: None)
    monkeypatch.setattr("config.postgres.binaries._from_distribution", lambda: None)
    with pytest.raises(DatabaseUnavailable, match="apt-get install postgresql"):
        find_binaries()


def test_a_deep_folder_keeps_its_socket_path_short_enough(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("x" * 120), run_as_root=False)
    folder = Cluster(deep).socket_folder
    assert len(os.fsencode(folder)) <= LONGEST_SOCKET_FOLDER
    assert folder != Cluster(Home(tmp_path / ("y" * 120), run_as_root=False)).socket_folder


def test_two_checkouts_have_two_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    homes = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr("config.home.SOURCE_ROOT", tmp_path / name)
        homes.append(home_from({}).path)
    assert homes[0] != homes[1]


@pytest.mark.parametrize(
    ("root", "environment", "expected"),
    [
        (True, {}, "/var/lib/flowwatch/default"),
        (False, {"XDG_DATA_HOME": "/data"}, "/data/flowwatch/default"),
        (False, {"FLOWWATCH_DATA": "/srv/flow"}, "/srv/flow"),
        (True, {"FLOWWATCH_DATA": "/srv/flow"}, "/srv/flow"),
    ],
)
def test_an_installed_package_has_one_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    root: bool,
    environment: dict[str, str],
    expected: str,
) -> None:
    monkeypatch.setattr("config.home.SHIPPED", tmp_path)
    monkeypatch.setattr("config.home.os.geteuid", lambda: 0 if root else 1000)
    assert str(home_from(environment).path) == expected


def test_a_secret_is_made_once_and_is_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "data", run_as_root=False)
    first = home.secret("secret-key")
    assert home.secret("secret-key") == first
    assert len(first) >= 64
    assert mode(home.path / "secret-key") == 0o600
    assert home.secret("other") != first


@pytest.mark.parametrize(
    ("gigabytes", "most", "least"),
    [(0.25, 64, 32), (4, 512, 64), (16, 2048, 256), (999, 2048, 256)],
)
def test_the_log_of_changes_takes_a_part_of_a_small_disk(
    home: Home, monkeypatch: pytest.MonkeyPatch, gigabytes: float, most: int, least: int
) -> None:
    usage = SimpleNamespace(total=int(gigabytes * 1024**3))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    cluster = Cluster(home)
    cluster.data.mkdir(parents=True)
    creation.write_configuration(cluster, database_user())
    lines = (cluster.data / "flowwatch.conf").read_text().splitlines()
    assert f"max_wal_size = {most}MB" in lines
    assert f"min_wal_size = {least}MB" in lines


def test_on_a_full_disk_the_configuration_stays_whole(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(home)
    cluster.data.mkdir(parents=True)
    creation.write_configuration(cluster, database_user(), "old = on\n")
    written = Path.write_text

    def half(self: Path, text: str, **options: str) -> int:
        written(self, text[:3], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", half)
    creation.write_configuration(cluster, database_user(), "old = on\n")
    with pytest.raises(OSError, match="No space left"):
        creation.write_configuration(cluster, database_user(), "new = on\n")
    assert (cluster.data / "flowwatch.conf").read_text() == "old = on\n"


def test_a_guard_that_can_not_say_that_it_is_ready_leaves_no_server(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(home)
    cluster.folder.mkdir(mode=0o711, parents=True)
    written = Path.write_text

    def full(self: Path, text: str, **options: str) -> int:
        if self == cluster.ready_file:
            raise OSError(28, "No space left on device")
        return written(self, text, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        guard._started(cluster)
    assert leftovers.processes_of(cluster.data) == []
