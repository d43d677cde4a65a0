"""Make a person a member; print the address where they set a password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from tenants.management.arguments import tenant_named
from tenants.members import AlreadyMember, add_member
from tenants.models import Membership, Role, User
from tenants.passwords import set_password, set_password_link


class Command(BaseCommand):
    """`create_member SLUG EMAIL --role ROLE [--password P]`."""

    help = "Make a person a member and print the address where they set a password."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the tenant, the person and the role."""
        parser.add_argument("slug", help="the tenant's slug")
        parser.add_argument("email", help="the person's mail address")
        parser.add_argument("--role", required=True, choices=Role.values)
        parser.add_argument("--password", help="set it now; no address is printed then")

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        """Store person and membership."""
        person = self._add(options).user
        password = options["password"]
        had_one = person.has_usable_password()
        if password is None:
            if had_one:
                self.stderr.write(
                    f"{person.email} has a password already; who opens this address sets another."
                )
            self.stdout.write(set_password_link(person))
            return
        self._warn_of_weak(password, person)
        if not person.check_password(password):
            set_password(person, password)
            if had_one:
                self.stderr.write(f"{person.email} had another password, which is void now.")

    def _add(self, options: dict[str, Any]) -> Membership:
        tenant = tenant_named(options["slug"])
        try:
            return add_member(tenant, options["email"], Role(options["role"]))[0]
        except ValidationError as error:
            raise CommandError(f"{options['email']!r} is no mail address.") from error
        except AlreadyMember as error:
            raise CommandError(
                f"{options['email']} is a member of {tenant.slug} already; "
                "the role is changed on the members page."
            ) from error

    def _warn_of_weak(self, password: str, user: User) -> None:
        """Say on standard error what the sign-in pages would refuse; who has a shell decides."""
        if not password:
            raise CommandError("An empty password would let nobody in.")
        try:
            validate_password(password, user)
        except ValidationError as error:
            self.stderr.write(f"Stored, but it is a weak password. {' '.join(error.messages)}")
