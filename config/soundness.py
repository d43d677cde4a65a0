"""Is this database safe to use: durable, of a version we know, and at our schema?"""

from collections.abc import Iterable
from functools import cache

from django.db import connection
from django.db.migrations.loader import MigrationLoader

OLDEST_VERSION = 150000
# What must not be "off", and what a crash would cost.
DURABILITY = {
    "fsync": "a power cut loses or corrupts what was acknowledged",
    "full_page_writes": "a crash in the middle of a page's write corrupts it",
    "synchronous_commit": "a crash loses executions that were answered with 2xx",
}


def unsafe_settings() -> list[str]:
    """Why this database could lose what was acknowledged; empty when it could not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)",
            [[*DURABILITY, "server_version_num"]],
        )
        settings = dict(cursor.fetchall())
    problems = [
        f"{name} is off: {cost}. Set {name} = on in postgresql.conf and reload PostgreSQL."
        for name, cost in DURABILITY.items()
        if settings[name] == "off"
    ]
    if int(settings["server_version_num"]) < OLDEST_VERSION:
        problems.append(
            f"PostgreSQL {int(settings['server_version_num']) // 10000} is too old: "
            "Flowwatch needs 15 or newer."
        )
    return problems


def unknown_migrations() -> list[str]:
    """Migrations that the database has and this code lacks: it is from a newer Flowwatch."""
    return unknown_here(f"{app}.{name}" for app, name in _applied())


def unknown_here(migrations: Iterable[str]) -> list[str]:
    """Those of some migrations (`app.name`) of our apps that this code lacks."""
    known = {f"{app}.{name}" for app, name in _on_disk()}
    return sorted(name for name in set(migrations) - known if name.partition(".")[0] in _our_apps())


def missing_migrations() -> list[str]:
    """Migrations that this code has and the database lacks."""
    return sorted(f"{app}.{name}" for app, name in _on_disk() - _applied())


def closed_tables() -> list[str]:
    """Tables that the web's role may not read: another role made them before the two were split."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('public')"
            " AND relkind IN ('r', 'p') AND NOT has_table_privilege(oid, 'SELECT') ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def _applied() -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('django_migrations')")
        if cursor.fetchone() == (None,):
            return set()
        cursor.execute("SELECT app, name FROM django_migrations")
        return {(app, name) for app, name in cursor.fetchall()}


@cache
def _on_disk() -> frozenset[tuple[str, str]]:
    loader = MigrationLoader(None)
    return frozenset((app, name) for app, name in loader.disk_migrations)


@cache
def _our_apps() -> frozenset[str]:
    return frozenset(app for app, _ in _on_disk())
