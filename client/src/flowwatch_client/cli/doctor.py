"""`doctor`: is everything as it should be, and what helps where it isn't?"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import platform
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from flowwatch_client.cli.checks import Check, State
from flowwatch_client.cli.opening import CommandFailed, Commands, check_is_log, settings_of
from flowwatch_client.cli.probing import probe
from flowwatch_client.cli.terminal import (
    coloured,
    count,
    local_time,
    number,
    of_status,
    out,
    printable,
    size,
)
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import Summary, summary
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.log.times import read_time
from flowwatch_client.settings import BadSetting, Settings
from flowwatch_client.version import VERSION

_LITTLE_BYTES = 1024**3
_TOO_LITTLE_BYTES = 16 * 1024**2
_LATE = dt.timedelta(hours=1)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="what is wrong, and what to do about it",
        description="Looks at settings, log, server and token. Exit code 1 when something fails.",
        parents=[common],
    )
    doctor.add_argument("--json", action="store_true", help="as one JSON object")
    doctor.set_defaults(command=examine)


def examine(options: argparse.Namespace) -> int:
    found = []
    for check in _checks(options):
        found.append(check)
        if not options.json:
            _say(check)
    failed = [check for check in found if check.state is State.FAIL]
    if options.json:
        out(json.dumps({"ok": not failed, "checks": [dataclasses.asdict(each) for each in found]}))
    else:
        warned = sum(check.state is State.WARN for check in found)
        out()
        out(f"{count(len(failed), 'failure')}, {count(warned, 'warning')}.")
    return 1 if failed else 0


def _say(check: Check) -> None:
    state = coloured(f"{check.state.value:<4}", of_status(check.state.value))
    out(f"{state}  {check.name:<11} {printable(check.text)}")
    if check.advice:
        out(f"{'':<18}→ {printable(check.advice)}")


def _checks(options: argparse.Namespace) -> Iterator[Check]:
    yield Check(
        "version",
        State.OK,
        f"flowwatch-client {VERSION}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
    )
    try:
        settings = settings_of(options)
    except BadSetting as error:
        yield Check("settings", State.FAIL, str(error), "Until then nothing is recorded.")
        return
    yield from _settings(settings, os.environ, by_option=hasattr(options, "log"))
    yield from _disk(settings)
    yield from _log(settings)
    yield from _server(settings)


# --- settings ------------------------------------------------------------------------------------------


def _settings(
    settings: Settings, environment: Mapping[str, str], *, by_option: bool
) -> Iterator[Check]:
    source = "--log" if by_option else "FLOWWATCH_LOG" if environment.get("FLOWWATCH_LOG") else ""
    yield Check("log", State.OK, f"{settings.path} ({source or 'the default'})")
    names = sorted(name for name in environment if name.startswith("FLOWWATCH_"))
    told = [f"{name}={_shown(name, environment[name])}" for name in names if environment[name]]
    yield Check("settings", State.OK, " ".join(told) or "all by default: no variable is set")
    if not settings.enabled:
        yield Check(
            "recording", State.WARN, "is switched off (FLOWWATCH_ENABLED)", "Unset it to record."
        )
    if settings.buffered:
        yield Check(
            "recording",
            State.OK,
            "buffered: a kill -9 may lose the last 200 ms (FLOWWATCH_BUFFERED)",
        )


def _shown(name: str, value: str) -> str:
    """A variable's value without what is secret in it."""
    if name == "FLOWWATCH_TOKEN":
        return f"{value[:6]}…"
    scheme, _, rest = value.rpartition("//")
    return f"{scheme}//{rest.rpartition('@')[2]}" if name == "FLOWWATCH_URL" else value


# --- file ----------------------------------------------------------------------------------------------


def _disk(settings: Settings) -> Iterator[Check]:
    folder = settings.path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield Check(
            "folder",
            State.FAIL,
            f"{folder} is no folder that this user may write into",
            "Give the right to, or name another file by FLOWWATCH_LOG.",
        )
        return
    free = shutil.disk_usage(folder).free
    text = f"{size(free)} free in {folder}; the log takes {size(settings.max_log_bytes)} at most"
    if free < _TOO_LITTLE_BYTES:
        yield Check("disk", State.FAIL, text, "Make room: what is not committed is not kept.")
    elif free < min(_LITTLE_BYTES, settings.max_log_bytes):
        yield Check("disk", State.WARN, text, "Make room, or lower FLOWWATCH_MAX_LOG_MB.")
    else:
        yield Check("disk", State.OK, text)


def _log(settings: Settings) -> Iterator[Check]:
    path = settings.path
    if not path.exists():
        yield Check("file", State.OK, "is not there yet: the first execution makes it")
        return
    try:
        check_is_log(path)
        log = Log(path)
        with log.connection.transaction():
            pass
        found = summary(log)
        with log.connection.reading() as connection:
            trouble = outbox.noted_trouble(connection)
    except (CommandFailed, NewerFile, sqlite3.Error, OSError) as error:
        yield Check("file", State.FAIL, f"{error}", _mend(path))
        return
    yield Check("file", State.OK, f"can be written, {size(found.bytes)}")
    yield _sum(found)
    yield from _records(found, settings)
    if trouble is not None:
        yield Check(
            "sending",
            State.WARN,
            f"{trouble[0]} ({local_time(trouble[1])})",
            "It is tried again by itself; `flowwatch-client send` tries now.",
        )


def _mend(path: Path) -> str:
    if not os.access(path, os.W_OK):
        return "Give this user the right to write, or name another file by FLOWWATCH_LOG."
    return "Name another file by FLOWWATCH_LOG, or move this one away: a new one is made."


def _sum(found: Summary) -> Check:
    counts = found.counts
    text = (
        f"{number(counts.accepted)} accepted = {number(counts.sent)} sent"
        f" + {number(counts.waiting)} waiting + {number(counts.dead)} dead letters"
        f" + {number(counts.dropped)} dropped"
    )
    if found.holds:
        return Check("records", State.OK, text)
    return Check(
        "records",
        State.FAIL,
        f"the sum does not hold: {text}",
        "Something else has changed the file. Please report it when nothing did.",
    )


def _records(found: Summary, settings: Settings) -> Iterator[Check]:
    if settings.sends and found.oldest_waiting and _is_late(found.oldest_waiting):
        yield Check(
            "waiting",
            State.WARN,
            f"{count(found.counts.waiting, 'record')}, the oldest since"
            f" {local_time(found.oldest_waiting)}",
            "`flowwatch-client send` sends them now; no process that sends runs, perhaps.",
        )
    for refused in found.refusals:
        yield Check(
            "dead letter",
            State.WARN,
            f"{count(refused.records, 'record')} since {local_time(refused.oldest)}: {refused.reason}",
            "When its cause is mended, `flowwatch-client retry-dead` sends again.",
        )
    if found.dropped_for_room:
        yield Check(
            "dropped",
            State.WARN,
            f"{count(found.dropped_for_room, 'record')} that were not sent, for the bound on the size",
            "Have them sent sooner, or raise FLOWWATCH_MAX_LOG_MB.",
        )
    if found.lost:
        yield Check(
            "lost",
            State.WARN,
            f"{count(found.lost, 'record')} that the log did not take",
            "The disk was full or the file locked for long.",
        )


def _is_late(text: str) -> bool:
    moment = read_time(text)
    return moment is not None and dt.datetime.now(dt.timezone.utc) - moment > _LATE


# --- server --------------------------------------------------------------------------------------------


def _server(settings: Settings) -> Iterator[Check]:
    if settings.url and settings.token:
        yield from probe(settings.url, settings.token)
    elif settings.url or settings.token:
        missing = "FLOWWATCH_TOKEN" if settings.url else "FLOWWATCH_URL"
        yield Check("server", State.FAIL, f"{missing} is missing", "Nothing is sent without both.")
    else:
        yield Check(
            "server",
            State.OK,
            "none: executions stay in the local log (FLOWWATCH_URL, FLOWWATCH_TOKEN)",
        )
