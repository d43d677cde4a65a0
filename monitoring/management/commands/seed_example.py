"""`manage.py seed_example`: what a first start shows instead of an empty product."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from monitoring.example.first_execution import ingest_command
from monitoring.example.seed import FirstTenant, make_first_tenant, record_example
from tenants.models import Tenant

EXAMPLE_TENANT = ("Example Agency", "example-agency")


class Command(BaseCommand):
    """Fills a database that holds no tenant yet; refuses any other."""

    help = "Make a first tenant with owner, token and thirty days of example executions."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--email", required=True, help="mail address of the owner")
        parser.add_argument("--password", help="password of the owner (default: a random one)")
        parser.add_argument(
            "--empty", action="store_true", help="tenant, owner and token only, no executions"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make everything, then print the sign-in and a command to send an execution."""
        if Tenant.objects.exists():
            raise CommandError("There are tenants already; the example is for an empty database.")
        # All or nothing: after a half-done start nobody would know the password.
        with transaction.atomic():
            first = make_first_tenant(*EXAMPLE_TENANT, options["email"], options["password"])
            if not options["empty"]:
                record_example(first.tenant, timezone.now())
        self.stdout.write(_welcome(first, options["email"]))


def _welcome(first: FirstTenant, email: str) -> str:
    password = first.password or "(the one you have)"
    return "\n".join(
        (
            f"Address   {settings.FRONTEND_URL}/",
            f"Mail      {email}",
            f"Password  {password}",
            "",
            "Send an execution that fails, then look at the input of its node “Send invoice”:",
            "",
            ingest_command(settings.FRONTEND_URL, first.ingest_token),
        )
    )
