"""``flowwatch``: ``flowwatch run`` starts everything, ``flowwatch <command>`` one command."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import dotenv

from config.home import SOURCE_ROOT, home_from, is_checkout
from config.lifeline import SUPERVISED, complain, follow_parent
from config.postgres.cluster import Cluster

# These look at code and files only, or start servers themselves; starting one for them would be a surprise.
COMMANDS_WITHOUT_DATABASE = frozenset(
    {"", "help", "--help", "-h", "version", "--version", "check", "collectstatic", "diffsettings"}
    | {"findstatic", "makemessages", "compilemessages", "upgrade_database"}
)
# Without tenants these have nothing to work on: they make no database, which would be the wrong one.
COMMANDS_ON_DATA = frozenset(
    {"create_tenant", "create_member", "create_token", "export_tenant", "verify_rollups"}
    | {"run_retention"}
    | {"createsuperuser", "changepassword", "seed_example", "backup"}
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


def _has_cluster() -> bool:
    return Cluster(home_from(os.environ)).data.is_dir()


def _place() -> str:
    """Which data this command works on, and how it would work on others."""
    if os.environ.get("DATABASE_URL"):
        return "This command uses the database that DATABASE_URL names."
    return (
        f"This command uses the data folder {home_from(os.environ).path}. If your Flowwatch runs with "
        "another FLOWWATCH_DATA, or with DATABASE_URL, give the command the same."
    )


def _manage(argv: list[str], command: str) -> int:
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line
    from django.db import ProgrammingError
    from psycopg.errors import UndefinedColumn, UndefinedTable

    from config.postgres.binaries import DatabaseUnavailable
    from config.postgres.lifetime import server_for_a_command

    if command in COMMANDS_ON_DATA and _embedded() and not _has_cluster():
        complain(f"There is no database yet: start one with `run`.\n{_place()}")
        return 1
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
            f"{_summary(error)}\nThe database lacks migrations: run the command `migrate` first.\n"
            f"{_place()}"
        )
        return 1
    return 0


def _summary(error: Exception) -> str:
    """The first line: what follows quotes the statement."""
    return str(error).partition("\n")[0]


if __name__ == "__main__":
    main()
