"""What several commands take."""

from django.core.management.base import CommandError

from tenants.models import Tenant


def tenant_named(slug: str) -> Tenant:
    """Return the tenant of this slug; explain when there is none."""
    tenant = Tenant.objects.living().filter(slug=slug).first()
    if tenant is None:
        raise CommandError(f"There is no tenant {slug!r}; create_tenant makes one.")
    return tenant
