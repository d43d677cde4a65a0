"""Starting and stopping one PostgreSQL server process, and what an earlier one left behind."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from config.postgres.binaries import Binaries, DatabaseUnavailable, copy_for_other_user
from config.postgres.cluster import PORT, SUPERUSER, Cluster
from config.postgres.creation import (
    create_cluster,
    create_roles_and_database,
    write_configuration,
)
from config.postgres.leftovers import clear_leftovers
from config.postgres.system_user import RunAs, database_user

# Recovery after a crash replays at most max_wal_size; even a slow disk is done by then.
START_SECONDS = 600.0
# Fast shutdown writes a checkpoint; when it takes longer than this, recovery at the next start
# is the lesser evil.
FAST_STOP_SECONDS = 60.0


class Server:
    """A PostgreSQL of one cluster as a child process of ours."""

    def __init__(
        self, cluster: Cluster, binaries: Binaries, configuration: str | None = None
    ) -> None:
        self.cluster = cluster
        self.binaries = binaries
        self.configuration = configuration
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Prepare the folder, start, wait until connections are taken; roles and database exist.

        Raises :class:`DatabaseUnavailable` with the reason and the remedy.
        """
        cluster = self.cluster
        run_as = database_user()
        self._prepare_folders(run_as)
        binaries = self.binaries
        if run_as.switch:
            binaries = copy_for_other_user(binaries, cluster.folder / "programs")
        finish_upgrade(cluster)
        check_version(cluster.data, binaries.major)
        clear_leftovers(cluster.data, cluster.socket_lock)
        if not (cluster.data / "PG_VERSION").exists():
            create_cluster(cluster, binaries, run_as)
        write_configuration(cluster, run_as, self.configuration)
        self.process = self._launch(binaries, run_as)
        self._wait_until_ready()
        create_roles_and_database(cluster)

    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Fast shutdown: sessions end, a checkpoint is written; immediate when that hangs."""
        process = self.process
        if process is None:
            return
        for number, seconds in ((signal.SIGINT, FAST_STOP_SECONDS), (signal.SIGQUIT, 10.0)):
            if process.poll() is not None:
                return
            process.send_signal(number)
            try:
                process.wait(seconds)
                return
            except subprocess.TimeoutExpired:
                continue
        process.kill()
        process.wait()

    def _prepare_folders(self, run_as: RunAs) -> None:
        cluster = self.cluster
        cluster.home.ensure()
        run_as.check_can_enter(cluster.home.path)
        cluster.folder.mkdir(mode=0o711, exist_ok=True)
        cluster.folder.chmod(0o711 if run_as.switch else 0o700)
        run_as.folder(cluster.socket_folder)
        if cluster.socket_folder.is_symlink() or cluster.socket_folder.stat().st_uid != run_as.uid:
            raise DatabaseUnavailable(
                f"The folder for the database's socket, {cluster.socket_folder}, belongs to "
                "somebody else: remove it, or choose a shorter FLOWWATCH_DATA."
            )

    def _launch(self, binaries: Binaries, run_as: RunAs) -> subprocess.Popen[bytes]:
        cluster = self.cluster
        with self._start_log.open("wb") as log:
            return subprocess.Popen(
                [
                    binaries.program("postgres"),
                    "-D",
                    str(cluster.data),
                    "-k",
                    str(cluster.socket_folder),
                    "-p",
                    str(PORT),
                    "-c",
                    "listen_addresses=",
                    "-c",
                    "unix_socket_permissions=0700",
                ],
                cwd=cluster.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C of the terminal reaches the whole foreground group; the guard decides.
                start_new_session=True,
                **run_as.process_options(),
            )

    @property
    def _start_log(self) -> Path:
        return self.cluster.folder / "start.log"

    def _wait_until_ready(self) -> None:
        if not wait_until(
            lambda: not self.running() or accepts_connections(self.cluster), START_SECONDS
        ):
            self.stop()
        if not self.running():
            raise DatabaseUnavailable(
                "The database did not start; its last words:\n"
                + self._start_log.read_text(errors="replace").strip()[-2000:]
                + f"\nMore may be in {self.cluster.data / 'log'}."
            )


def check_version(data: Path, major: int) -> None:
    """Refuse files of another major version: they are never converted silently."""
    file = data / "PG_VERSION"
    if not file.exists():
        return
    found = file.read_text().strip()
    if found == str(major):
        return
    raise DatabaseUnavailable(
        f"The data in {data} was written by PostgreSQL {found}, but the programs here are "
        f"PostgreSQL {major}. Nothing was changed. To move it, run: flowwatch upgrade_database (or "
        "python manage.py upgrade_database). To go on as before, set FLOWWATCH_POSTGRES_BIN to the "
        f"bin folder of a PostgreSQL {found}. More: docs/deployment.md, 'A new major version of "
        "PostgreSQL'."
    )


def finish_upgrade(cluster: Cluster) -> None:
    """Put the new files into their place when an upgrade ended before its last step."""
    if cluster.upgraded.exists() and not cluster.data.exists():
        cluster.upgraded.rename(cluster.data)


def accepts_connections(cluster: Cluster) -> bool:
    """Whether a server answers on the cluster's socket."""
    try:
        psycopg.connect(
            **cluster.connection_parameters(SUPERUSER, "postgres"), connect_timeout=5
        ).close()
    except psycopg.OperationalError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.02) -> bool:
    """Ask ``condition`` until it holds (True) or the time is over (False)."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
