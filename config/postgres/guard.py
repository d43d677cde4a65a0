"""The process around PostgreSQL: ``python -m config.postgres.guard [--linger]``.

It starts the server of the data folder, says ``ready`` on standard output, and stops the server in
order when its lifeline ends, however the parent died. It ends when the server ends by itself; the
supervisor then starts both again. With ``--linger`` (started by a command, not by the supervisor)
it first lets the other commands finish that use the same server.
"""

import argparse
import contextlib
import os
import select
import signal
import sys

from config.home import home_from
from config.lifeline import complain, lock_file, take_lifeline
from config.postgres.binaries import DatabaseUnavailable, find_binaries
from config.postgres.cluster import Cluster
from config.postgres.server import Server

READY = "ready"
EXIT_BUSY = 75
EXIT_REFUSED = 78


def main() -> int:
    """Guard one server; the exit status says busy (another guard has it) or refused (message)."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--linger", action="store_true")
    linger: bool = arguments.parse_args().linger

    signals = _SignalPipe()
    lifeline = take_lifeline()
    cluster = Cluster(home_from(os.environ))
    cluster.home.ensure()
    cluster.folder.mkdir(mode=0o711, exist_ok=True)
    if lock_file(cluster.guard_lock, wait=False) is None:
        return EXIT_BUSY
    try:
        server = Server(cluster, find_binaries(os.environ.get("FLOWWATCH_POSTGRES_BIN")))
        server.start()
    except DatabaseUnavailable as error:
        complain(str(error))
        return EXIT_REFUSED
    print(READY, flush=True)
    while not signals.terminated and not _ended(lifeline):
        if not server.running():
            complain("the database ended by itself")
            return 1
        select.select([signals.reader, *([] if lifeline is None else [lifeline])], [], [])
        signals.drain()
    if linger:
        lock_file(cluster.users_lock)
    server.stop()
    return 0


def _ended(lifeline: int | None) -> bool:
    """Whether the parent is gone: its end of the pipe is closed."""
    if lifeline is None or not select.select([lifeline], [], [], 0)[0]:
        return False
    return os.read(lifeline, 1) == b""


class _SignalPipe:
    """Wakes ``select`` when a child ends or TERM arrives; Ctrl-C is the supervisor's to handle."""

    def __init__(self) -> None:
        self.terminated = False
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._terminate)

    def drain(self) -> None:
        """Forget the wake-ups so far."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.reader, 4096)

    def _terminate(self, *_: object) -> None:
        self.terminated = True


if __name__ == "__main__":
    sys.exit(main())
