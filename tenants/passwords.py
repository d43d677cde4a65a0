"""Links by which people set a password, and what follows when one was set."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urljoin

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from tenants import audit, mail, throttle
from tenants.addresses import client_address, neighbourhood
from tenants.models import User
from tenants.models.person import normalize_email
from tenants.sign_in import TooManyTries, end_other_sessions, forget_places
from tenants.throttle import Limit

RESETS_FOR_ACCOUNT = Limit("reset account", 5, timedelta(hours=1))
RESETS_FROM_ADDRESS = Limit("reset address", 30, timedelta(hours=1))


def set_password_link(user: User) -> str:
    """Return the absolute address where `user` may set a password once, for a day."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    token = default_token_generator.make_token(user)
    return urljoin(settings.FRONTEND_URL, reverse("password-set", args=[uid, token]))


def person_of_link(uid: str, token: str, *, lock: bool = False) -> User | None:
    """Return whose password the link sets; None when it is broken, used or too old.

    With `lock`, inside a transaction, nobody else uses the link until its end.
    """
    try:
        pk = int(urlsafe_base64_decode(uid).decode())
    except (ValueError, OverflowError):
        return None
    if not 0 < pk < 2**63:
        return None
    people = User.objects.select_for_update(no_key=True) if lock else User.objects.all()
    user = people.filter(pk=pk, is_active=True).first()
    if user is None or not default_token_generator.check_token(user, token):
        return None
    return user


def send_reset_link(request: HttpRequest, email: str) -> None:
    """Send a link to the person of this address, if there is one; the caller can't tell.

    Raises TooManyTries when the caller's address has asked too often. A mailbox gets a few mails an
    hour at most.
    """
    now = timezone.now()
    address = neighbourhood(client_address(request))
    if not RESETS_FROM_ADDRESS.bucket(address).take(now):
        raise TooManyTries
    email = normalize_email(email)
    if not RESETS_FOR_ACCOUNT.bucket(email).take(now):
        return
    user = User.objects.filter(email=email, is_active=True).first()
    if user is not None:
        audit.record(
            "password.reset-sent", tenant=None, request=request, actor="nobody", subject=user.email
        )
        mail.send_mail(
            "set_password", user.email, {"person": user, "link": set_password_link(user)}
        )
    throttle.forget_old_buckets()


@transaction.atomic
def use_link(uid: str, token: str, password: str, *, request: HttpRequest) -> User | None:
    """Set the password by a link, which works no more then; None when another use came first."""
    user = person_of_link(uid, token, lock=True)
    if user is not None:
        set_password(user, password, request=request)
    return user


@transaction.atomic
def set_password(
    user: User, password: str, *, request: HttpRequest | None = None, keep: str | None = None
) -> None:
    """Store a new password and end every session but the one with key `keep`."""
    user.set_password(password)
    user.save(update_fields=["password"])
    end_other_sessions(user, keep)
    forget_places(user)
    audit.record(
        "password.set",
        tenant=None,
        request=request,
        actor=user if request else None,
        subject=user.email,
    )


@transaction.atomic
def invalidate_links(user: User) -> None:
    """Make every link to set a first password void, by changing the unusable one it signs."""
    user.set_unusable_password()
    user.save(update_fields=["password"])
