"""The embedded server for as long as one command needs it.

Beside a running ``flowwatch run`` a command simply uses its server. Otherwise the first command
starts a guard that lives as long as the last of the commands using it.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

from config.home import SOURCE_ROOT
from config.lifeline import Lifeline, lock_file
from config.postgres.binaries import DatabaseUnavailable
from config.postgres.cluster import Cluster
from config.postgres.guard import EXIT_BUSY
from config.postgres.server import START_SECONDS, accepts_connections, wait_until

Guard = subprocess.Popen[bytes]


@contextlib.contextmanager
def server_for_a_command(cluster: Cluster) -> Iterator[None]:
    """Within the block the cluster's server takes connections.

    Raises :class:`DatabaseUnavailable`; the guard has then said why on standard error.
    """
    cluster.home.ensure()
    cluster.folder.mkdir(mode=0o711, exist_ok=True)
    # Waits while a guard that lost its last user is stopping the server.
    use = lock_file(cluster.users_lock, shared=True)
    assert use is not None
    lifeline: Lifeline | None = None
    try:
        if not accepts_connections(cluster):
            lifeline = _start_guard(cluster)
        yield
    finally:
        os.close(use)
        if lifeline:
            lifeline.cut()


def start_guard(environment: Mapping[str, str], *options: str) -> tuple[Guard, Lifeline]:
    """Start a guard that lives as long as the lifeline."""
    lifeline = Lifeline()
    guard = subprocess.Popen(
        [sys.executable, "-m", "config.postgres.guard", *options],
        cwd=SOURCE_ROOT,
        env={**environment, **lifeline.environment()},
        stdin=subprocess.DEVNULL,
        pass_fds=[lifeline.reader],
        start_new_session=True,
    )
    lifeline.child_started()
    return guard, lifeline


def wait_for_guard(guard: Guard, cluster: Cluster) -> bool:
    """Wait until this guard's server takes connections (True) or the guard has ended (False)."""
    own = str(guard.pid)

    def ready() -> bool:
        with contextlib.suppress(FileNotFoundError):
            return cluster.ready_file.read_text() == own
        return False

    wait_until(lambda: ready() or guard.poll() is not None, START_SECONDS)
    return guard.poll() is None


def _start_guard(cluster: Cluster) -> Lifeline | None:
    guard, lifeline = start_guard(os.environ, "--linger")
    if wait_for_guard(guard, cluster):
        return lifeline
    lifeline.cut()
    if guard.wait() == EXIT_BUSY and wait_until(
        lambda: accepts_connections(cluster), START_SECONDS
    ):
        return None
    raise DatabaseUnavailable("the embedded database is not available")
