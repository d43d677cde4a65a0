"""Opens the log for a command; never makes one, never touches a file that is none."""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import re
import sqlite3
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from flowwatch_client.cli.terminal import err
from flowwatch_client.log.connection import IN_MEMORY
from flowwatch_client.log.log import Log
from flowwatch_client.log.times import read_time, stored
from flowwatch_client.settings import Settings, absolute, from_environment

_AGO = re.compile(r"(\d+)\s*(s|m|min|h|d|w)")
_UNITS = {"s": "seconds", "m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class CommandFailed(Exception):
    """It can't be done; the text says why and what helps."""


class WrongUsage(Exception):
    """The command line asks for nothing that can be meant; the text says what may be given."""


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def settings_of(options: argparse.Namespace) -> Settings:
    """Settings of the environment with the file that the command line names. Raises BadSetting."""
    settings = from_environment()
    named: str | None = getattr(options, "log", None)
    return dataclasses.replace(settings, path=absolute("--log", named)) if named else settings


def open_log(options: argparse.Namespace) -> Log:
    """The log; an empty one in memory when nothing was recorded yet. Raises CommandFailed."""
    path = settings_of(options).path
    if not path.exists():
        if hasattr(options, "log"):
            raise CommandFailed(f"There is no file {path}.")
        err(f"Nothing is recorded yet: there is no log {path}.")
        return Log(Path(IN_MEMORY))
    check_is_log(path)
    return Log(path)


def check_is_log(path: Path) -> None:
    """Raises CommandFailed when an existing file is anything but a log (or empty)."""
    try:
        with_version = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        try:
            (tables,) = with_version.execute(
                "SELECT count(*) FROM sqlite_master"
                " WHERE name IN ('executions', 'node_executions', 'outbox')"
            ).fetchone()
            (all_tables,) = with_version.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            with_version.close()
    except sqlite3.Error as error:
        raise CommandFailed(f"{path} can't be read as a log: {error}.") from error
    if all_tables and tables < 3:
        raise CommandFailed(f"{path} is a database, but no log of flowwatch-client.")


def moment(text: str) -> str:
    """For argparse: `2h`, `7d` ago, or a date or time of ISO 8601 (local without an offset)."""
    ago = _AGO.fullmatch(text.strip())
    now = dt.datetime.now(dt.timezone.utc)
    if ago:
        try:
            found = now - dt.timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is too long ago") from error
        return stored(found)
    local = read_time(text, None)
    if local is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time: give 30m, 2h, 7d, or 2026-11-21 or 2026-11-21T09:30"
        )
    return stored(local.astimezone())


def natural(text: str) -> int:
    """For argparse: a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")
    return int(text)
