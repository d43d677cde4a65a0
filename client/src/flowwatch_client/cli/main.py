"""Reads the command line and calls the command."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from typing import cast

from flowwatch_client.cli import doctor, executions, keeping, run, sending
from flowwatch_client.cli.opening import CommandFailed, WrongUsage
from flowwatch_client.cli.terminal import err
from flowwatch_client.log.schema import NewerFile
from flowwatch_client.settings import BadSetting
from flowwatch_client.version import VERSION

FAILURE = 1
WRONG_USAGE = 2
INTERRUPTED = 128 + signal.SIGINT

_DESCRIPTION = "Reads and keeps the local log of what workflows did, and sends it to Flowwatch."
_EPILOG = """\
The log is $FLOWWATCH_LOG or ~/.local/state/flowwatch/executions.db; --log names another.
Exit codes: 0 all right, 1 it failed, 2 wrong usage; `run` ends with its command's own code.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The whole command; its exit code."""
    options = _parser().parse_args(arguments)
    command = cast("Callable[[argparse.Namespace], int]", options.command)
    try:
        code = command(options)
        if sys.stdout is not None:  # closed when this began (`>&-`)
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read has enough (`| head`). Python flushes once more when it ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except WrongUsage as error:
        err(str(error))
        return WRONG_USAGE
    except (CommandFailed, BadSetting, NewerFile) as error:
        err(str(error))
    except (sqlite3.Error, OSError) as error:
        err(f"{type(error).__name__}: {error}")
    return FAILURE


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--log", metavar="FILE", default=argparse.SUPPRESS, help="the log, when not the usual one"
    )
    parser = argparse.ArgumentParser(
        prog="flowwatch-client",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"flowwatch-client {VERSION}")
    commands = parser.add_subparsers(metavar="command", required=True, title="commands")
    for module in (executions, keeping, sending, run, doctor):
        module.add(commands, common)
    return parser
