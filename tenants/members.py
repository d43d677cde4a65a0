"""Adding, changing and removing members; a tenant never loses its last owner."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest

from tenants import audit, mail
from tenants.models import Membership, Role, Tenant, User
from tenants.models.person import normalize_email
from tenants.passwords import invalidate_links, set_password_link
from tenants.scoping import across_tenants, tenant_scope


class AlreadyMember(Exception):
    """The person is a member already."""


class NotMember(Exception):
    """Somebody else has ended the membership meanwhile."""


class LastOwner(Exception):
    """Without this member nobody could manage the tenant."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """A new membership, and the link to hand over when no mail could carry it."""

    membership: Membership
    link: str | None
    is_mailed: bool


@transaction.atomic
def add_member(
    tenant: Tenant, email: str, role: Role, *, request: HttpRequest | None = None
) -> tuple[Membership, bool]:
    """Make the person of this address a member; return the membership and whether they are new.

    Raises AlreadyMember, and ValidationError for what is no mail address. A person without
    password gets one by link (`invite_member`).
    """
    email = normalize_email(email)
    User(email=email).clean_fields(exclude=["password"])
    user, is_new = User.objects.get_or_create(email=email)
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    with tenant_scope(tenant):
        membership, is_added = Membership.objects.get_or_create(
            tenant=tenant, user=user, defaults={"role": role}
        )
    if not is_added:
        raise AlreadyMember
    audit.record("member.add", tenant=tenant, request=request, subject=email, role=role.value)
    return membership, is_new


@transaction.atomic
def invite_member(tenant: Tenant, email: str, role: Role, *, request: HttpRequest) -> Invitation:
    """Add a member and tell them by mail.

    A person who has set a password just hears of the tenant. Anybody else needs a link to set one:
    it goes to their mailbox, and is shown to the inviting owner only when no mail can leave and the
    account is new, as it opens the account. Links from earlier invitations become void.
    """
    membership, is_new = add_member(tenant, email, role, request=request)
    return _tell(membership, may_show_link=is_new, request=request)


@transaction.atomic
def invite_again(membership: Membership, *, request: HttpRequest) -> Invitation:
    """Make a fresh link for a member who has set no password yet."""
    audit.record(
        "member.invite-again",
        tenant=membership.tenant,
        request=request,
        subject=membership.user.email,
    )
    with across_tenants():
        is_only_here = membership.user.memberships.count() == 1
    may_show_link = is_only_here and not membership.user.is_staff
    return _tell(membership, may_show_link=may_show_link, request=request)


@transaction.atomic
def change_role(membership: Membership, role: Role, *, request: HttpRequest | None = None) -> None:
    """Give a member another role; raise NotMember, and LastOwner when nobody else would be owner."""
    before = _locked(membership)
    if before.role == role:
        return
    if before.role == Role.OWNER:
        _demand_other_owner(before)
    Membership.objects.filter(pk=before.pk).update(role=role)
    audit.record(
        "member.role",
        tenant=before.tenant,
        request=request,
        subject=before.user.email,
        before=before.role,
        after=role.value,
    )


@transaction.atomic
def remove_member(membership: Membership, *, request: HttpRequest | None = None) -> None:
    """End a membership; the person stays.

    Raises NotMember, and LastOwner when nobody else would be owner.
    """
    before = _locked(membership)
    if before.role == Role.OWNER:
        _demand_other_owner(before)
    Membership.objects.filter(pk=before.pk).delete()
    audit.record(
        "member.remove",
        tenant=before.tenant,
        request=request,
        subject=before.user.email,
        role=before.role,
    )


def _locked(membership: Membership) -> Membership:
    """Lock the tenant, so that two owners can't leave at once, and read the membership anew."""
    Tenant.objects.select_for_update().get(pk=membership.tenant_id)
    found = Membership.objects.select_related("tenant", "user").filter(pk=membership.pk).first()
    if found is None:
        raise NotMember
    return found


def _demand_other_owner(membership: Membership) -> None:
    others = Membership.objects.filter(role=Role.OWNER, user__is_active=True)
    if not others.exclude(pk=membership.pk).exists():
        raise LastOwner


def _tell(membership: Membership, *, may_show_link: bool, request: HttpRequest) -> Invitation:
    user, tenant = membership.user, membership.tenant
    link = None
    if not user.has_usable_password():
        invalidate_links(user)
        link = set_password_link(user)
    mail.send_mail(
        "invitation",
        user.email,
        {
            "tenant_name": audit.printable(tenant.name),
            "role": Role(membership.role),
            "inviter": request.user,
            "link": link,
            "address": urljoin(settings.FRONTEND_URL, tenant.get_absolute_url()),
        },
    )
    is_mailed = mail.is_configured()
    return Invitation(membership, link if may_show_link and not is_mailed else None, is_mailed)
