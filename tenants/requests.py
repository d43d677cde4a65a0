"""The types of requests after they were let in."""

from django.http import HttpRequest

from tenants.models import ApiToken, Membership, Tenant, User


class PersonRequest(HttpRequest):
    """A request of a signed-in person."""

    user: User


class TenantRequest(PersonRequest):
    """A request for a page of a tenant in which the person is a member."""

    tenant: Tenant
    membership: Membership


class ApiRequest(HttpRequest):
    """An API call that may do what it asks; made by a token, or by a person's session."""

    tenant: Tenant
    token: ApiToken | None
    membership: Membership | None
    actor: str
