"""Database sessions that know their person, their age and their last use (SESSION_ENGINE)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import connection
from django.utils import timezone

from tenants.models import Session
from tenants.rows import columns_of, made

ABSOLUTE_LIMIT = timedelta(days=30)
"""A session ends this long after sign-in, however busy it is."""

SEEN_STEP = timedelta(minutes=1)
"""`last_seen_at` is written at most this often."""


def idle_limit() -> timedelta:
    """Return how long a session lives without a request (SESSION_COOKIE_AGE)."""
    return timedelta(seconds=settings.SESSION_COOKIE_AGE)


def session_end(created_at: datetime, seen_at: datetime) -> datetime:
    """Return when a session ends that began and was last used at these instants."""
    return min(seen_at + idle_limit(), created_at + ABSOLUTE_LIMIT)


class SessionStore(DatabaseStore):
    """Django's database store with an idle and an absolute limit and a person beside the data."""

    PLACE_KEY = "_place"

    @classmethod
    def get_model_class(cls) -> type[Session]:
        """Return the model that holds the rows."""
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        """Return the row for `data`; a row that exists keeps its age."""
        now = timezone.now()
        known = Session.objects.filter(session_key=self.session_key).only("created_at").first()
        created_at = known.created_at if known else now
        place = data.get(self.PLACE_KEY) or {}
        user_id = data.get(SESSION_KEY)
        row = cast(Session, super().create_model_instance(data))
        row.user_id = int(user_id) if user_id else None
        row.created_at = created_at
        row.last_seen_at = now
        row.expire_date = session_end(created_at, now)
        row.ip = place.get("ip")
        row.user_agent = place.get("user_agent", "")
        return row

    def get_expiry_age(self, **kwargs: Any) -> int:
        """Return how long the browser keeps the cookie; the row beside it may end earlier.

        The cookie is not sent anew with each answer, so it must outlast the idle limit.
        """
        return int(ABSOLUTE_LIMIT.total_seconds())

    def load(self) -> dict[str, Any]:
        """Return the session's data, and note that it was used."""
        now = timezone.now()
        row = self._living(now)
        if row is None:
            self._session_key = None
            return {}
        if now - row.last_seen_at >= SEEN_STEP:
            Session.objects.filter(session_key=row.session_key).update(
                last_seen_at=now, expire_date=session_end(row.created_at, now)
            )
        return self.decode(row.session_data)

    def _living(self, now: datetime) -> Session | None:
        """The row of this session, unless it has ended."""
        statement = f"""
            SELECT {columns_of(Session, "s")} FROM tenants_session s
            WHERE s.session_key = %s AND s.expire_date > %s"""  # noqa: S608 - names of columns
        with connection.cursor() as cursor:
            cursor.execute(statement, [self.session_key, now])
            row = cursor.fetchone()
        return None if row is None else made(Session, row)
