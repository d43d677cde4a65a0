"""The two database roles at work: the owner makes the schema, the app role only uses it."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from psycopg import sql

# Told before any table exists: what the owner makes later is usable by the app role. Migrations
# narrow this where needed (the audit log), so rights are never given to ALL TABLES afterwards.
_BY_DEFAULT = "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public "
DEFAULT_PRIVILEGES = (
    "GRANT USAGE ON SCHEMA public TO {app}",
    _BY_DEFAULT + "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app}",
    _BY_DEFAULT + "GRANT USAGE, SELECT ON SEQUENCES TO {app}",
)
# What another role made without telling the app role: everything but changes of the audit log.
OPENING = (
    "GRANT USAGE ON SCHEMA public TO {app}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {app}",
    "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {app}",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {app}",
    "REVOKE UPDATE, DELETE, TRUNCATE ON tenants_auditevent FROM {app}",
)


@contextmanager
def as_owner() -> Iterator[None]:
    """Within the block this thread's default connection belongs to the owner of the schema.

    Where one role is both (``DATABASE_URL`` without ``MIGRATION_DATABASE_URL``) nothing changes.
    """
    owner = settings.MIGRATION_DATABASE
    if owner is None:
        yield
        return
    app_settings = connection.settings_dict
    connection.close()
    connection.settings_dict = {**app_settings, **owner}
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = app_settings


@contextmanager
def on_database(name: str) -> Iterator[None]:
    """Within the block Django's connection, and that of :func:`as_owner`, go to another database."""
    places = [connection.settings_dict, settings.MIGRATION_DATABASE or {}]
    usual = [place.get("NAME") for place in places]
    connection.close()
    try:
        for place in places:
            place["NAME"] = name
        yield
    finally:
        connection.close()
        for place, before in zip(places, usual, strict=True):
            place["NAME"] = before


def grant_default_privileges() -> None:
    """Let the app role use what the owner (the current role) is about to make."""
    with connection.cursor() as cursor:
        for statement in default_privileges(connection.settings_dict["USER"], settings.APP_ROLE):
            cursor.execute(statement)


def default_privileges(owner: str, app: str) -> list[sql.Composed]:
    """Statements that let `app` use what `owner` will make; none when they are one."""
    if owner == app:
        return []
    names = {"app": sql.Identifier(app), "owner": sql.Identifier(owner)}
    return [sql.SQL(statement).format(**names) for statement in DEFAULT_PRIVILEGES]


def opening(app: str) -> list[sql.Composed]:
    """Statements that let `app` use all that exists."""
    return [sql.SQL(statement).format(app=sql.Identifier(app)) for statement in OPENING]
