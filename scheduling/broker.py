"""How django-q2 reads its queue here: a table of the same database, by the database's clock.

django-q2's own broker for tables compares with the clock of the host and takes rows in no order
(docs/decisions/0006-carrier.md).
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from typing import Final

from django.db import InterfaceError, OperationalError, connections
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

logger = logging.getLogger(__name__)

_OUTAGE_PAUSE: Final = 1.0

# `lock` is when a task may be fetched (again): the oldest first.
_FETCH: Final = """
UPDATE django_q_ormq SET lock = statement_timestamp() + make_interval(secs => %s)
WHERE id = (
    SELECT id FROM django_q_ormq WHERE key = %s AND lock <= statement_timestamp()
    ORDER BY lock, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING id, payload
"""


class Wakes(ORM):  # type: ignore[misc]
    """The queue of one cluster: wake-ups, fetched one by one, the oldest first.

    Those that go `ahead` count as older.
    """

    ahead = dt.timedelta(0)

    def enqueue(self, task: str) -> int:
        """Add a signed task, with the caller's transaction if there is one; return its row's id."""
        queue = self.get_connection(self.list_key)
        row = queue.create(key=self.list_key, payload=task, lock=Now() - self.ahead)
        return int(row.pk)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Fetch the oldest task that is not fetched yet; None after a pause when there is none.

        While the database is away it waits: django-q2's pusher would end at an error.
        """
        try:
            self.get_connection(self.list_key)  # drops a connection that broke
            with connections[Conf.ORM].cursor() as cursor:
                cursor.execute(_FETCH, [Conf.RETRY, self.list_key])
                rows: list[tuple[int, str]] = cursor.fetchall()
        except (OperationalError, InterfaceError) as error:
            logger.warning("queue not reached", extra={"error": str(error).strip()})
            time.sleep(_OUTAGE_PAUSE)
            return None
        if not rows:
            time.sleep(Conf.POLL)
            return None
        return rows


class UrgentWakes(Wakes):
    """Adds before what waits, behind canaries."""

    ahead = dt.timedelta(minutes=10)


def clear_queue(name: str) -> None:
    """Forget what waits for a cluster: the tick finds again what is due."""
    OrmQ.objects.filter(key=name).delete()
