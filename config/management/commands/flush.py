"""Django's ``flush``, run as the owner of the schema."""

from typing import Any

from django.core.management.commands import flush

from config.roles import as_owner


class Command(flush.Command):
    """Empty every table. The web's own database role may not empty any."""

    help = "Removes all data from the database, as the role that owns it."

    def handle(self, **options: Any) -> None:
        """Switch the role, then do as Django does."""
        with as_owner():
            super().handle(**options)
