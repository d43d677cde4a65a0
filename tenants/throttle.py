"""Counts tries in PostgreSQL: at most so many in a sliding window, over all processes and hosts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, Func, Value
from django.utils import timezone
from django.utils.crypto import salted_hmac

from tenants.models import SignInBucket

KEEP = timedelta(days=1)
"""Buckets that were not hit for this long are removed; longer than every window."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `tries` within `window`, for each value of `kind`."""

    kind: str
    tries: int
    window: timedelta

    def bucket(self, *values: str) -> Bucket:
        """Return the bucket of these values; the database sees a keyed digest of them only."""
        text = "\0".join((self.kind, *values))
        return Bucket(self, salted_hmac("tenants.throttle", text, algorithm="sha256").hexdigest())


@dataclass(frozen=True, slots=True)
class Bucket:
    """The tries of one account, place or address."""

    limit: Limit
    key: str

    def take(self, now: datetime) -> bool:
        """Count one try; False, and not counted, when the window is full.

        One statement decides and counts, so that tries at the same instant can't pass together.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                _TAKE,
                {
                    "key": self.key,
                    "now": now,
                    "since": now - self.limit.window,
                    "tries": self.limit.tries,
                },
            )
            return cursor.fetchone() is not None

    def give_back(self, now: datetime) -> None:
        """Forget the try that was counted at `now`."""
        SignInBucket.objects.filter(key=self.key).update(
            hits=Func(F("hits"), Value(now), function="array_remove")
        )

    def is_full(self, now: datetime) -> bool:
        """Say whether the next try would be refused."""
        hits = SignInBucket.objects.filter(key=self.key).values_list("hits", flat=True).first()
        recent = [hit for hit in hits or () if hit > now - self.limit.window]
        return len(recent) >= self.limit.tries


_TAKE = """
INSERT INTO tenants_signinbucket AS bucket (key, hits, last_hit_at)
VALUES (%(key)s, ARRAY[%(now)s::timestamptz], %(now)s)
ON CONFLICT (key) DO UPDATE SET
    hits = ARRAY(SELECT hit FROM unnest(bucket.hits) AS hit WHERE hit > %(since)s)
           || ARRAY[%(now)s::timestamptz],
    last_hit_at = %(now)s
WHERE (SELECT count(*) FROM unnest(bucket.hits) AS hit WHERE hit > %(since)s) < %(tries)s
RETURNING key
"""


def take_all(buckets: list[Bucket], now: datetime) -> Bucket | None:
    """Count one try in each bucket; when one is full, count in none and return that one."""
    taken: list[Bucket] = []
    for bucket in buckets:
        if not bucket.take(now):
            for earlier in taken:
                earlier.give_back(now)
            return bucket
        taken.append(bucket)
    return None


def forget_old_buckets() -> None:
    """Remove what no window looks at any more."""
    SignInBucket.objects.filter(last_hit_at__lt=timezone.now() - KEEP).delete()
