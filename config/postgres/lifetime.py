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
from config.postgres.guard import EXIT_BUSY, READY
from config.postgres.server import START_SECONDS, accepts_connections, wait_until


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


def start_guard(environment: Mapping[str, str], *options: str) -> tuple[subprocess.Popen[str], Lifeline]:
    """Start a guard; it prints ``ready`` when its server takes connections."""
    lifeline = Lifeline()
    guard = subprocess.Popen(
        [sys.executable, "-m", "config.postgres.guard", *options],
        cwd=SOURCE_ROOT,
        env={**environment, **lifeline.environment()},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[lifeline.reader],
        start_new_session=True,
    )
    lifeline.child_started()
    return guard, lifeline


def _start_guard(cluster: Cluster) -> Lifeline | None:
    guard, lifeline = start_guard(os.environ, "--linger")
    assert guard.stdout is not None
    if guard.stdout.readline().strip() == READY:
        return lifeline
    lifeline.cut()
    if guard.wait() == EXIT_BUSY and wait_until(lambda: accepts_connections(cluster), START_SECONDS):
        return None
    raise DatabaseUnavailable("the embedded database is not available")
