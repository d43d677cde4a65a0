"""Django's ``migrate``, run as the owner of the schema."""

from typing import Any

from django.core.management.commands import migrate

from config.roles import as_owner, grant_default_privileges


class Command(migrate.Command):
    """Bring the schema up to date. The web's own database role could not: it owns nothing."""

    help = "Brings the schema up to date, as the role that owns it."

    def handle(self, *args: Any, **options: Any) -> str | None:
        """Switch the role, give the app role its default rights, then do as Django does."""
        with as_owner():
            grant_default_privileges()
            return super().handle(*args, **options)
