"""The web process: ``python -m config.web`` serves ``config.asgi`` on granian."""

import gc
import logging
import os
import resource
import signal
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from config.cli import read_env_file
from config.environment import Environment
from config.lifeline import follow_parent
from config.telemetry.sharing import shared_counts

if TYPE_CHECKING:
    from config.bridge import Bridge

READY = "a web process serves"

# Connections, not requests: idle keep-alives and slow senders count too (docs/decisions/0002).
CONNECTIONS = 2048
STOP_SECONDS = 10


def main() -> None:
    """Serve until TERM, or until the parent is gone."""
    os.environ["FLOWWATCH_PROCESS"] = "web"
    follow_parent()
    read_env_file()
    _allow_many_files()
    env = Environment.read()
    server = Server(
        "config.web:load_application",
        factory=True,
        address=env.bind_address,
        port=env.port,
        interface=Interfaces.ASGINL,
        workers=env.web_workers,
        loop=Loops.auto,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS // 2,
        # Its guess between HTTP/1 and 2 waits for ever for the first byte, and HTTP/2 knows no time-out
        # of ours: a thousand silent connections would take all there are.
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=STOP_SECONDS,
    )
    with shared_counts():
        server.serve()


def load_application() -> "Bridge":
    """What each server process serves; called in that process."""
    # It inherited granian's handlers, which only mark something in the parent: until it serves,
    # TERM simply ends it.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from config.asgi import application

    # What is loaded now stays: the collector need not walk it again and again, nor run after every
    # few hundred objects of a JSON body (measured: a third of the cost of reading an execution).
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    logging.getLogger(__name__).info(READY)
    return application


def _allow_many_files() -> None:
    """A connection is a file: raise the soft limit as far as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
