"""Make a tenant; print its slug."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.lifecycle import create_tenant, explain


class Command(BaseCommand):
    """`create_tenant NAME --slug SLUG [--location-id ID]`."""

    help = "Make a tenant and print its slug."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the name, the slug and perhaps the location."""
        parser.add_argument("name", help="what people read")
        parser.add_argument(
            "--slug", required=True, help="its name in addresses: a-z, 0-9, - and _"
        )
        parser.add_argument("--location-id", help="the GoHighLevel location that names it, if any")

    def handle(self, *args: Any, **options: Any) -> None:
        """Store the tenant."""
        try:
            tenant = create_tenant(options["name"], options["slug"], options["location_id"])
        except ValidationError as error:
            raise CommandError(explain(error)) from error
        self.stdout.write(tenant.slug)
