"""The models of `tenants`."""

from tenants.models.audit import AuditEvent
from tenants.models.person import Density, KnownPlace, Session, SignInBucket, Theme, User
from tenants.models.tenant import ApiToken, Membership, Tenant
from tenants.roles import Role, Scope

__all__ = [
    "ApiToken",
    "AuditEvent",
    "Density",
    "KnownPlace",
    "Membership",
    "Role",
    "Scope",
    "Session",
    "SignInBucket",
    "Tenant",
    "Theme",
    "User",
]
