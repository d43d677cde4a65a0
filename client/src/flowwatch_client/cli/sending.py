"""`retry-dead`: what was refused waits again."""

from __future__ import annotations

import argparse

from flowwatch_client.cli.opening import Commands, open_log
from flowwatch_client.cli.terminal import count, err
from flowwatch_client.log import outbox


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    again = commands.add_parser(
        "retry-dead",
        help="send again what the server refused",
        description="Lets records that the server refused for good wait to be sent again; the next"
        " process that sends takes them along.",
        parents=[common],
    )
    again.add_argument("id", nargs="?", help="only of the execution with this id")
    again.set_defaults(command=retry_dead)


def retry_dead(options: argparse.Namespace) -> int:
    with open_log(options).connection.transaction() as connection:
        again = outbox.retry(connection, options.id)
    err(f"{count(again, 'record')} wait{'s' if again == 1 else ''} again.")
    return 0
