"""The embedded database is moved to a new major version by its command, and by nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.backup.archive import Archive
from config.backup.place import of_cluster
from config.backup.restoring import destination, fill
from config.home import Home
from config.postgres import lifetime, major
from config.postgres.binaries import DatabaseUnavailable, find_binaries
from config.postgres.cluster import Cluster
from config.postgres.server import finish_upgrade
from tests.config.backups import rows
from tests.config.trees import Tree
from tests.upgrade.make_dump import DUMPS

OLD_PROGRAMS = Path("/usr/lib/postgresql/15/bin")
COUNT = "SELECT count(*) FROM monitoring_execution"


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A data folder whose database an older PostgreSQL wrote."""
    tree = Tree()
    old = find_binaries(str(OLD_PROGRAMS))
    try:
        with (
            major.served(tree.cluster, old),
            destination(of_cluster(tree.cluster), replace=False) as (place, one_transaction),
        ):
            dump = Archive(sorted(DUMPS.glob("*.backup"))[0])
            fill(place, dump, old, one_transaction=one_transaction)
        yield tree
    finally:
        tree.throw_away()


@pytest.mark.commands
@pytest.mark.skipif(not OLD_PROGRAMS.is_dir(), reason="needs PostgreSQL 15 beside the wheel's")
def test_files_of_an_older_version_are_moved_by_the_command_that_the_refusal_names(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWWATCH_POSTGRES_BIN", raising=False)
    new = find_binaries()
    assert "upgrade_database" in tree.command("verify_rollups").stderr
    refused = tree.command("upgrade_database", "--old-programs", "/nowhere").stderr
    assert "its programs are not in /nowhere" in refused
    assert major.version_of(tree.cluster) == 15

    moved = tree.command("upgrade_database")
    assert moved.returncode == 0, moved.stderr
    assert f"of PostgreSQL {new.major} now" in moved.stderr
    assert major.version_of(tree.cluster) == new.major
    kept = {path.name for path in tree.cluster.folder.iterdir() if path.name.startswith("data")}
    assert kept == {"data", "data.15"}
    with major.served(tree.cluster, new):
        assert rows(of_cluster(tree.cluster), COUNT)[0][0] > 30
    assert "Nothing to do" in tree.command("upgrade_database").stderr


def cluster_in(folder: Path) -> Cluster:
    cluster = Cluster(Home(folder, run_as_root=False))
    cluster.data.mkdir(parents=True)
    (cluster.data / "PG_VERSION").write_text("15\n")
    return cluster


def test_an_upgrade_that_ended_before_its_last_step_is_finished_by_the_next_start(
    tmp_path: Path,
) -> None:
    cluster = cluster_in(tmp_path)
    cluster.data.rename(cluster.upgraded)
    finish_upgrade(cluster)
    assert major.version_of(cluster) == 15
    # Not when the old files stand where they belong: the upgrade begins anew.
    cluster.upgraded.mkdir()
    finish_upgrade(cluster)
    assert major.version_of(cluster) == 15
    assert cluster.upgraded.exists()


def test_without_the_old_programs_the_way_by_a_backup_is_told(tmp_path: Path) -> None:
    cluster = cluster_in(tmp_path)
    with pytest.raises(
        DatabaseUnavailable, match=r"apt-get install postgresql-14.*flowwatch backup"
    ):
        major.programs_of(14, cluster)


def test_nothing_is_moved_while_something_runs(tmp_path: Path) -> None:
    cluster = cluster_in(tmp_path)
    with (
        major.alone(cluster),
        pytest.raises(DatabaseUnavailable, match="end it first"),
        major.alone(cluster),
    ):
        pass


def test_commands_wait_for_its_end_and_it_is_refused_while_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a command wrote into the old database after the dump would be lost."""
    monkeypatch.setattr(lifetime, "accepts_connections", lambda cluster: True)
    cluster = cluster_in(tmp_path)
    runs = threading.Event()

    def command() -> None:
        with lifetime.server_for_a_command(cluster):
            runs.set()

    other = threading.Thread(target=command)
    with major.alone(cluster):
        other.start()
        assert not runs.wait(0.5)
    assert runs.wait(10)
    other.join()
    with (
        lifetime.server_for_a_command(cluster),
        pytest.raises(DatabaseUnavailable, match="end it first"),
        major.alone(cluster),
    ):
        pass
