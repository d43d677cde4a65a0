"""The process around PostgreSQL: ``python -m config.postgres.guard [--linger]``.

It starts the server of the data folder, writes its own process id to the ready file, and stops the
server in order when its lifeline ends, however the parent died. It ends when the server ends by itself; the
supervisor then starts both again. With ``--linger`` (started by a command, not by the supervisor)
it first lets the other commands finish that use the same server.
"""

import argparse
import os
import select
import signal
import sys

import psycopg

from config.home import home_from
from config.lifeline import SignalPipe, complain, lock_file, take_lifeline
from config.postgres.binaries import DatabaseUnavailable, find_binaries
from config.postgres.cluster import Cluster
from config.postgres.server import Server

EXIT_FAILED = 1
EXIT_BUSY = 75
EXIT_REFUSED = 78


def main() -> int:
    """Guard one server; the exit status says busy (another guard has it) or refused (message)."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--linger", action="store_true")
    linger: bool = arguments.parse_args().linger

    # Ctrl-C is the supervisor's to handle: it decides when the database ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = SignalPipe(signal.SIGTERM)
    lifeline = take_lifeline()
    cluster = Cluster(home_from(os.environ))
    cluster.home.ensure()
    cluster.folder.mkdir(mode=0o711, exist_ok=True)
    if lock_file(cluster.guard_lock, wait=False) is None:
        return EXIT_BUSY
    try:
        server = _started(cluster)
    except DatabaseUnavailable as error:
        complain(str(error))
        return EXIT_REFUSED
    except (OSError, psycopg.Error) as error:
        complain(f"the database did not start: {error}")
        return EXIT_FAILED
    while not signals.asked_to_end and not _ended(lifeline):
        if not server.running():
            complain("the database ended by itself")
            return EXIT_FAILED
        select.select([signals.reader, *([] if lifeline is None else [lifeline])], [], [])
        signals.drain()
    if linger:
        lock_file(cluster.users_lock)
    server.stop()
    return 0


def _started(cluster: Cluster) -> Server:
    """A server that takes connections, announced in the ready file; none is left when that fails."""
    cluster.ready_file.unlink(missing_ok=True)
    server = Server(cluster, find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN")))
    try:
        server.start()
        cluster.ready_file.write_text(str(os.getpid()))
    except (OSError, psycopg.Error):  # a full disk, for example
        server.stop()
        raise
    return server


def _ended(lifeline: int | None) -> bool:
    """Whether the parent is gone: its end of the pipe is closed."""
    if lifeline is None or not select.select([lifeline], [], [], 0)[0]:
        return False
    return os.read(lifeline, 1) == b""


if __name__ == "__main__":
    sys.exit(main())
