"""Write a tenant's data to a file; print the file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants.export import export_tenants
from tenants.management.arguments import tenant_named


class Command(BaseCommand):
    """`export_tenant SLUG FILE`: all data of a tenant, without a browser."""

    help = "Write all data of a tenant to a zip of JSON lines and print the file's name."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the tenant and where to write."""
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("file", type=Path, help="where to write; must not exist yet")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file, readable by its owner only."""
        tenant, path = tenant_named(options["slug"]), options["file"]
        try:
            path.touch(mode=0o600, exist_ok=False)
            with path.open("wb") as file:
                file.writelines(export_tenants([tenant]))
        except OSError as error:
            raise CommandError(f"{path} can't be written: {error.strerror}.") from error
        self.stdout.write(str(path))
