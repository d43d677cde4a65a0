"""`send`: what waits goes now. `retry-dead`: what was refused waits again."""

from __future__ import annotations

import argparse
import time

from flowwatch_client.cli.opening import (
    CommandFailed,
    Commands,
    natural,
    open_log,
    settings_of,
)
from flowwatch_client.cli.terminal import count, err
from flowwatch_client.delivery.http import Server
from flowwatch_client.delivery.sender import Sender
from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.log import Log
from flowwatch_client.log.outbox import Counts
from flowwatch_client.version import AGENT

_SHORTEST_PAUSE = 0.05


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    sending = commands.add_parser(
        "send",
        help="send what waits, now",
        description="Sends what waits to the server that FLOWWATCH_URL and FLOWWATCH_TOKEN name.",
        parents=[common],
    )
    sending.add_argument(
        "--timeout",
        type=natural,
        default=60,
        metavar="SECONDS",
        help="how long to try again when it does not succeed (60)",
    )
    sending.set_defaults(command=send)

    again = commands.add_parser(
        "retry-dead",
        help="let what the server refused be sent again",
        description="Lets records that the server refused for good wait to be sent again; `send`, or"
        " the next process that sends, takes them along.",
        parents=[common],
    )
    again.add_argument("id", nargs="?", help="only of the execution with this id")
    again.set_defaults(command=retry_dead)


def send(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if not settings.sends:
        raise CommandFailed("There is no server to send to: set FLOWWATCH_URL and FLOWWATCH_TOKEN.")
    log = open_log(options)
    before = _counts(log)
    server = Server(settings.url or "", settings.token or "", AGENT)
    is_done = _send(
        Sender(server, Connection(log.path), log.connection), time.monotonic() + options.timeout
    )
    after = _counts(log)
    err(f"{count(after.sent - before.sent, 'record')} sent, {after.waiting} waiting.")
    if after.dead > before.dead:
        err(f"{count(after.dead - before.dead, 'record')} refused for good; `stats` says why.")
    return 0 if is_done else 1


def _send(sender: Sender, until: float) -> bool:
    """Try until everything is sent, or no try is left in this time (monotonic)."""
    while not sender.send_waiting(lambda: time.monotonic() < until):
        pause = max(sender.pause_left(), _SHORTEST_PAUSE)
        if time.monotonic() + pause >= until:
            return False
        time.sleep(pause)
    return True


def _counts(log: Log) -> Counts:
    with log.connection.reading() as connection:
        return outbox.counts(connection)


def retry_dead(options: argparse.Namespace) -> int:
    with open_log(options).connection.transaction() as connection:
        again = outbox.retry(connection, options.id)
    err(f"{count(again, 'record')} wait{'s' if again == 1 else ''} again.")
    return 0
