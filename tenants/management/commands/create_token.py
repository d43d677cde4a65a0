"""Make an API token; print it, this once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import registry
from tenants.management.arguments import tenant_named
from tenants.models import Scope, Tenant
from tenants.tokens import issue_token


class Command(BaseCommand):
    """`create_token SLUG --scopes S,S [--name N] [--expires DAYS] [--environment ID]`."""

    help = "Make an API token and print it. It can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the tenant and what the token may do."""
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument(
            "--scopes", required=True, help=f"comma-separated: {', '.join(Scope.values)}"
        )
        parser.add_argument("--name", default="command line", help="where it will be used")
        parser.add_argument("--expires", type=int, metavar="DAYS", help="days that it lives")
        parser.add_argument(
            "--environment", type=int, metavar="ID", help="what it sends belongs to this one"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Store the token's digest and print the secret."""
        tenant = tenant_named(options["slug"])
        _demand_environment(tenant, options["environment"])
        try:
            _, secret = issue_token(
                tenant,
                name=options["name"],
                scopes=[text.strip() for text in options["scopes"].split(",") if text.strip()],
                expires_in_days=options["expires"],
                environment_id=options["environment"],
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(secret)


def _demand_environment(tenant: Tenant, environment_id: int | None) -> None:
    """Refuse an environment that the tenant doesn't have."""
    if environment_id is None:
        return
    known = dict(registry.environments_of(tenant))
    if environment_id not in known:
        listed = ", ".join(f"{pk} ({name})" for pk, name in known.items()) or "none"
        raise CommandError(f"{tenant.slug} has no environment {environment_id}. It has: {listed}.")
