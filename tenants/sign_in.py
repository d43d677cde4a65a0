"""Signing in: who guesses is slowed down, and can't lock the right person out by it.

Three kinds of tries are counted apart (docs/decisions/0007-sign-in.md):

- from a browser that signed in to this account before (it holds a device cookie): for itself;
- from an address that did: for that account and address;
- from anywhere else: for the account, all strangers together.

So the guesses of strangers use up the strangers' tries only. Unless the browser is known, the
address is limited too, over all accounts. A try is counted before the password is looked at, and
given back when it was right.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import authenticate, login
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.crypto import salted_hmac

from tenants import audit, throttle
from tenants.addresses import client_address, neighbourhood
from tenants.models import KnownPlace, Session, User
from tenants.models.person import normalize_email
from tenants.sessions import SessionStore
from tenants.throttle import Bucket, Limit

STRANGERS = Limit("sign-in account", 10, timedelta(minutes=15))
KNOWN_ADDRESS = Limit("sign-in account from address", 10, timedelta(minutes=15))
KNOWN_DEVICE = Limit("sign-in account from device", 10, timedelta(minutes=15))
ADDRESS = Limit("sign-in address", 100, timedelta(hours=1))

PLACES_KEPT = 50
"""Places remembered for one person; the longest unused are forgotten first."""


class TooManyTries(Exception):
    """The password was not looked at."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a try comes from: digests of the device cookie (if any) and of the address."""

    device: str | None
    address: str

    @classmethod
    def of(cls, request: HttpRequest) -> Place:
        """Read the place from a request."""
        cookie = request.COOKIES.get(device_cookie_name(), "")
        address = neighbourhood(client_address(request))
        return cls(_digest("device", cookie) if cookie else None, _digest("address", address))


def check_password(request: HttpRequest, email: str, password: str) -> User | None:
    """Return the person, or None when address or password is wrong; both take the same time.

    Raises TooManyTries when the tries from here are used up.
    """
    email = normalize_email(email)
    now = timezone.now()
    buckets = _buckets(email, Place.of(request))
    if throttle.take_all(buckets, now):
        raise TooManyTries
    user = authenticate(request, username=email, password=password)
    if isinstance(user, User):
        for bucket in buckets:
            bucket.give_back(now)
        return user
    _record_failure(request, email, buckets)
    return None


@transaction.atomic
def start_session(request: HttpRequest, user: User) -> str:
    """Sign `user` in under a new session id; return the value for `set_device_cookie`."""
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    request.session[SessionStore.PLACE_KEY] = {
        "ip": client_address(request),
        "user_agent": audit.printable(request.headers.get("User-Agent", "")),
    }
    audit.record("sign-in.success", tenant=None, request=request, actor=user, subject=user.email)
    throttle.forget_old_buckets()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return remember_place(request, user)


def remember_place(request: HttpRequest, user: User) -> str:
    """Let later tries from this browser and address count for themselves.

    Returns the value for `set_device_cookie`.
    """
    cookie = request.COOKIES.get(device_cookie_name()) or secrets.token_urlsafe(32)
    address = neighbourhood(client_address(request))
    now = timezone.now()
    KnownPlace.objects.bulk_create(
        [
            KnownPlace(user=user, key=key, last_used_at=now)
            for key in (_digest("device", cookie), _digest("address", address))
        ],
        update_conflicts=True,
        unique_fields=["user", "key"],
        update_fields=["last_used_at"],
    )
    kept = user.known_places.order_by("-last_used_at").values_list("pk", flat=True)
    user.known_places.exclude(pk__in=list(kept[:PLACES_KEPT])).delete()
    return cookie


def set_device_cookie(response: HttpResponseBase, cookie: str) -> None:
    """Give the browser the cookie by which it is known again."""
    response.set_cookie(
        device_cookie_name(),
        cookie,
        max_age=KnownPlace.LIFETIME,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def end_other_sessions(user: User, keep: str | None) -> int:
    """End all sessions of `user` but the one with the key `keep`; return how many."""
    return Session.objects.filter(user=user).exclude(session_key=keep or "").delete()[0]


def forget_places(user: User) -> None:
    """Treat every browser and address as a stranger again, as after a change of password."""
    user.known_places.all().delete()


def device_cookie_name() -> str:
    """Return the device cookie's name; it shares prefix and suffix with the session's."""
    return f"{settings.SESSION_COOKIE_NAME}-device"


def _buckets(email: str, place: Place) -> list[Bucket]:
    """Return where a try counts. The same queries run whether or not the account exists."""
    keys = [key for key in (place.device, place.address) if key]
    known = set(
        KnownPlace.objects.filter(
            user__email=email,
            key__in=keys,
            last_used_at__gt=timezone.now() - KnownPlace.LIFETIME,
        ).values_list("key", flat=True)
    )
    if place.device and place.device in known:
        return [KNOWN_DEVICE.bucket(email, place.device)]
    if place.address in known:
        return [ADDRESS.bucket(place.address), KNOWN_ADDRESS.bucket(email, place.address)]
    # The address first: when it is used up, no counter is made for what else it tries.
    return [ADDRESS.bucket(place.address), STRANGERS.bucket(email)]


def _record_failure(request: HttpRequest, email: str, buckets: list[Bucket]) -> None:
    """Note the wrong try, and whether it was the last before a pause.

    An unknown address is not written down: people type passwords into the wrong field.
    """
    user = User.objects.filter(email=email).first()
    is_last = any(bucket.is_full(timezone.now()) for bucket in buckets)
    audit.record(
        "sign-in.failed",
        tenant=None,
        request=request,
        actor="nobody",
        subject=user.email if user else "unknown address",
        limited=is_last,
    )


def _digest(kind: str, value: str) -> str:
    return salted_hmac(f"tenants.sign_in {kind}", value, algorithm="sha256").hexdigest()
