"""What a backup says about itself, and what must hold of the database that is made of it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import psycopg
from django.conf import settings
from psycopg import sql

from config import soundness
from config.backup import rights
from config.backup.place import Place, Refused
from config.version import version

FORMAT: Final = "flowwatch backup 1"


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """Written last into each backup.

    `made_at` is the moment whose state it holds; `postgres` is the major version of the server and
    `programs` that of `pg_dump`; `migrations` are `app.name`; `rows` counts each
    table's rows (a partitioned table's in all its partitions); `key` tells two secret keys apart
    without telling either.
    """

    format: str = FORMAT
    made_at: dt.datetime
    version: str
    postgres: int
    programs: int
    migrations: list[str]
    rows: dict[str, int]
    rights: list[rights.Right] | None
    key: str


def describe(session: psycopg.Connection[Any], place: Place, *, programs: int) -> Manifest:
    """What the snapshot of this session's transaction holds."""
    [(now,)] = session.execute("SELECT now()").fetchall()
    return Manifest(
        made_at=now.astimezone(dt.UTC),
        version=version(),
        postgres=server_major(session),
        programs=programs,
        migrations=_migrations(session),
        rows=count_rows(session),
        rights=None if place.app_role == place.owner_role else rights.read(session, place.app_role),
        key=key_mark(settings.SECRET_KEY),
    )


def encode(manifest: Manifest) -> bytes:
    """As JSON that people can read."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def decode(body: bytes) -> Manifest:
    """Raises :class:`Refused` for what no backup of ours says."""
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except msgspec.MsgspecError as error:
        raise Refused(f"This is no backup of Flowwatch's, or of a newer one: {error}") from error
    if manifest.format != FORMAT:
        raise Refused(f"This backup has the format {manifest.format!r}; known is {FORMAT!r}.")
    return manifest


def refuse_newer(manifest: Manifest, server_major: int) -> None:
    """Refuse what this code or this PostgreSQL could not go on with."""
    if unknown := soundness.unknown_here(manifest.migrations):
        raise Refused(
            f"This backup was made by a newer Flowwatch ({manifest.version}): it has the migrations "
            f"{', '.join(unknown)}, which this one ({version()}) lacks. Restore it with that version."
        )
    if manifest.postgres > server_major:
        raise Refused(
            f"This backup is of PostgreSQL {manifest.postgres}, and the server here is PostgreSQL "
            f"{server_major}: restore it into one of {manifest.postgres} or newer."
        )


def refuse_different(session: psycopg.Connection[Any], manifest: Manifest) -> None:
    """Refuse a database whose tables don't hold as many rows as the backup says."""
    found = count_rows(session)
    wrong = [
        f"{name}: {found.get(name, 0)} instead of {rows}"
        for name, rows in manifest.rows.items()
        if found.get(name, 0) != rows
    ]
    if wrong:
        raise Refused("The restored tables don't hold what the backup says: " + "; ".join(wrong))


def count_rows(session: psycopg.Connection[Any]) -> dict[str, int]:
    """The rows of each table of ours, by name."""
    names = session.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname"
    ).fetchall()
    counts: Mapping[str, int] = {
        name: session.execute(
            sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name))
        ).fetchall()[0][0]
        for (name,) in names
    }
    return dict(counts)


def server_major(session: psycopg.Connection[Any]) -> int:
    """The major version of the session's server."""
    return session.info.server_version // 10_000


def key_mark(secret_key: str) -> str:
    """Sixteen digits that differ for different keys and tell nothing of them."""
    return hashlib.blake2b(secret_key.encode(), digest_size=8, person=b"fw-backup").hexdigest()


def _migrations(session: psycopg.Connection[Any]) -> list[str]:
    rows = session.execute("SELECT app || '.' || name FROM public.django_migrations ORDER BY id")
    return [name for (name,) in rows]
