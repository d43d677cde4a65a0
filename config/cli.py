"""``flowwatch``: ``flowwatch run`` starts everything, ``flowwatch <command>`` one command."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dotenv

from config.home import SOURCE_ROOT, home_from, is_checkout
from config.lifeline import SUPERVISED, complain, follow_parent

# These look at code and files only; starting a database for them would be a surprise.
COMMANDS_WITHOUT_DATABASE = frozenset(
    {"", "help", "--help", "-h", "version", "--version", "check", "collectstatic", "diffsettings"}
    | {"findstatic", "makemessages", "compilemessages"}
)
# What these do must not wait for locks or hang in a transaction (config/database.py).
BACKGROUND_COMMANDS = {"run_tick": "tick", "run_cluster": "background"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the console script and of ``manage.py``."""
    argv = list(sys.argv if arguments is None else arguments)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    read_env_file()
    make_paths_absolute()
    follow_parent()
    command = argv[1] if len(argv) > 1 else ""
    if command in BACKGROUND_COMMANDS:
        os.environ["FLOWWATCH_PROCESS"] = BACKGROUND_COMMANDS[command]
    if command == "run":
        from config.supervisor import run

        sys.exit(run(argv[2:]))
    sys.exit(_manage(argv, command))


def read_env_file() -> None:
    """A checkout's ``.env`` adds variables; those that are set already win."""
    if is_checkout():
        dotenv.load_dotenv(SOURCE_ROOT / ".env")


def make_paths_absolute() -> None:
    """Folders are meant from here; the parts of ``run`` work in another directory."""
    for name in ("FLOWWATCH_DATA", "FLOWWATCH_POSTGRES_BIN"):
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().resolve())


def _embedded() -> bool:
    """Whether this command has to care for a server: none is given, and no supervisor does."""
    return not (os.environ.get("DATABASE_URL") or os.environ.get(SUPERVISED))


def _manage(argv: list[str], command: str) -> int:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import ProgrammingError
    from psycopg.errors import UndefinedColumn, UndefinedTable

    from config.postgres.binaries import DatabaseUnavailable
    from config.postgres.cluster import Cluster
    from config.postgres.lifetime import server_for_a_command

    try:
        if command in COMMANDS_WITHOUT_DATABASE or not _embedded():
            execute_from_command_line(argv)
        else:
            with server_for_a_command(Cluster(home_from(os.environ))):
                execute_from_command_line(argv)
    except (DatabaseUnavailable, ImproperlyConfigured) as error:
        complain(str(error))
        return 1
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable | UndefinedColumn):
            raise
        complain(
            f"{_summary(error)}\nThe database lacks migrations: run the command `migrate` first."
        )
        return 1
    return 0


def _summary(error: Exception) -> str:
    """The first line: what follows quotes the statement."""
    return str(error).partition("\n")[0]


if __name__ == "__main__":
    main()
