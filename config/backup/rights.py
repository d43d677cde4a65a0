"""What the app role may do with the owner's objects, whatever the two roles are called elsewhere.

`pg_dump` keeps rights by the names of roles; another installation has others.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from config.roles import opening


class Right(msgspec.Struct, frozen=True):
    """One object (`kind` and `name` as GRANT takes them) and what the app role and everybody may."""

    kind: str
    name: str
    app: list[str]
    everybody: list[str]


_READ: Final = """
    WITH object AS (
        SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
            format('public.%%I', relname) AS name,
            coalesce(relacl, acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner))
                AS acl
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL
        SELECT 'ROUTINE',
            format('public.%%I(%%s)', proname, pg_get_function_identity_arguments(oid)),
            coalesce(proacl, acldefault('f', proowner))
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    )
    SELECT kind, name,
        coalesce(array_agg(privilege_type ORDER BY privilege_type)
            FILTER (WHERE grantee = (SELECT oid FROM pg_roles WHERE rolname = %(app)s)), '{}'),
        coalesce(array_agg(privilege_type ORDER BY privilege_type) FILTER (WHERE grantee = 0), '{}')
    FROM object CROSS JOIN LATERAL aclexplode(acl)
    GROUP BY kind, name ORDER BY kind, name
"""


def read(session: psycopg.Connection[Any], app_role: str) -> list[Right]:
    """The rights on all objects of the schema."""
    return [Right(*row) for row in session.execute(_READ, {"app": app_role}).fetchall()]


def give(
    session: psycopg.Connection[Any], rights: list[Right] | None, owner_role: str, app_role: str
) -> None:
    """Make the rights of the session's own objects equal these, for a role of any name.

    None (of an installation with one role) gives what two roles need. Functions that work with the
    owner's rights are never for everybody, also where one role is both: others may come later.
    """
    session.execute("REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA public FROM PUBLIC")
    if app_role == owner_role:
        return
    role = sql.Identifier(app_role)
    if rights is None:
        for statement in opening(app_role):
            session.execute(statement)
        return
    for right in rights:
        # Kind and name come from the catalogue, quoted there; a backup is ours or not restored.
        on = sql.SQL(f"{right.kind} {right.name}")
        session.execute(sql.SQL("REVOKE ALL ON {} FROM {}, PUBLIC").format(on, role))
        for who, privileges in ((role, right.app), (sql.SQL("PUBLIC"), right.everybody)):
            if privileges:
                wanted = sql.SQL(", ".join(privileges))
                session.execute(sql.SQL("GRANT {} ON {} TO {}").format(wanted, on, who))
