"""Registers chores and the subscriber in the processes of these tests."""

import os

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    """Switches the fault on that MUTANT names."""

    name = "tests.faults"
    label = "faults"

    def ready(self) -> None:
        """Register, then break."""
        from scheduling.due import Kind, register_kind
        from scheduling.relay import subscriber
        from tests.faults.models import Chore
        from tests.faults.work import MUTANTS, do_chore, tell

        register_kind(Kind("chore", model=Chore, work=do_chore))
        subscriber("fault")(tell)
        MUTANTS[os.environ.get("MUTANT", "")]()
