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


def grant_default_privileges() -> None:
    """Let the app role use what the owner (the current role) is about to make."""
    owner = connection.settings_dict["USER"]
    if owner == settings.APP_ROLE:
        return
    names = {"app": sql.Identifier(settings.APP_ROLE), "owner": sql.Identifier(owner)}
    with connection.cursor() as cursor:
        for statement in DEFAULT_PRIVILEGES:
            cursor.execute(sql.SQL(statement).format(**names))
