"""Moving a cluster to another major version of PostgreSQL: a new one is filled beside and takes its place."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from config.home import Home
from config.lifeline import lock_file
from config.postgres.binaries import (
    Binaries,
    DatabaseUnavailable,
    build_or_none,
    distribution_folders,
)
from config.postgres.cluster import Cluster
from config.postgres.creation import INCLUDE
from config.postgres.server import Server


def programs_of(major: int, cluster: Cluster, chosen: str | None = None) -> Binaries:
    """Programs of that version: in `chosen`, in copies of earlier wheels, in the distribution's.

    Raises :class:`DatabaseUnavailable` that says what to do without them.
    """
    copies = cluster.folder.glob(f"programs/{major}-*/*/*/bin")
    folders = [Path(chosen)] if chosen else [*copies, *distribution_folders()]
    for folder in folders:
        build = build_or_none(folder)
        if build and build.major == major:
            return build
    raise DatabaseUnavailable(
        f"The data were written by PostgreSQL {major}, and its programs are not"
        f" {f'in {chosen}' if chosen else 'here any more'}. Install them (Debian, Ubuntu: apt-get install"
        f" postgresql-{major}) or name their folder with --old-programs; or make a backup with the"
        " Flowwatch that wrote the data (flowwatch backup FILE), rename the folder"
        f" {cluster.data} away, and restore it with this one (flowwatch restore FILE)."
    )


def version_of(cluster: Cluster) -> int | None:
    """The major version that wrote the cluster's files; None when there are none."""
    file = cluster.data / "PG_VERSION"
    return int(file.read_text().strip()) if file.exists() else None


@contextlib.contextmanager
def alone(cluster: Cluster) -> Iterator[None]:
    """Nobody starts or uses a server of this cluster meanwhile. Raises :class:`DatabaseUnavailable`."""
    with contextlib.ExitStack() as held:
        for file in (cluster.home.path / "run.lock", cluster.guard_lock, cluster.users_lock):
            lock = lock_file(file, wait=False)
            if lock is None:
                raise DatabaseUnavailable(
                    f"Flowwatch, or one of its commands, runs with the data folder {cluster.home.path}:"
                    " end it first."
                )
            held.callback(os.close, lock)
        yield


@contextlib.contextmanager
def served(cluster: Cluster, binaries: Binaries) -> Iterator[None]:
    """Its server runs within the block."""
    server = Server(cluster, binaries)
    try:
        server.start()
        yield
    finally:
        server.stop()


def new_beside(cluster: Cluster) -> Cluster:
    """An empty cluster on the same disk with the same passwords; what was left there goes."""
    home = Home(cluster.folder / "upgrade", cluster.home.run_as_root)
    shutil.rmtree(home.path, ignore_errors=True)
    home.ensure()
    for password in cluster.home.path.glob("database-password-*"):
        shutil.copy2(password, home.path)
    return Cluster(home)


def take_place(new: Cluster, cluster: Cluster) -> Path:
    """Let the stopped cluster `new` take the place of the stopped old one; where the old one is now.

    Three renames: whatever ends it between them, the next start finds a whole cluster.
    """
    kept = cluster.folder / f"data.{version_of(cluster)}"
    if kept.exists():
        raise DatabaseUnavailable(f"{kept} is in the way: an earlier upgrade kept it. Remove it.")
    shutil.rmtree(cluster.upgraded, ignore_errors=True)
    new.data.rename(cluster.upgraded)
    cluster.data.rename(kept)
    cluster.upgraded.rename(cluster.data)
    shutil.rmtree(new.home.path)
    return kept


def own_settings(data: Path) -> str:
    """What an operator added to the configuration of a cluster."""
    text = (data / "postgresql.conf").read_text(encoding="utf-8")
    return text.partition(INCLUDE)[2].strip()
