"""The web process: ``python -m config.web`` serves ``config.asgi`` on granian."""

import os
import resource

from granian.constants import Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import Server

from config.environment import Environment
from config.lifeline import follow_parent

# Connections, not requests: idle keep-alives and slow senders count too (docs/decisions/0002).
CONNECTIONS = 2048
STOP_SECONDS = 15


def main() -> None:
    """Serve until TERM, or until the parent is gone."""
    os.environ["FLOWWATCH_PROCESS"] = "web"
    follow_parent()
    _allow_many_files()
    env = Environment.read()
    Server(
        "config.asgi:application",
        address=env.bind_address,
        port=env.port,
        interface=Interfaces.ASGINL,
        workers=env.web_workers,
        loop=Loops.auto,
        websockets=False,
        backlog=CONNECTIONS,
        backpressure=CONNECTIONS // 2,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        log_level=LogLevels.warning,
        respawn_failed_workers=True,
        respawn_interval=1.0,
        workers_kill_timeout=STOP_SECONDS,
    ).serve()


def _allow_many_files() -> None:
    """A connection is a file: raise the soft limit as far as we may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
