"""Registers chores and the subscribers in the processes of these tests."""

import os

from django.apps import AppConfig


class FaultsConfig(AppConfig):
    """Switches the fault on that MUTANT names."""

    name = "tests.faults"
    label = "faults"

    def ready(self) -> None:
        """Register, then break."""
        from django.db.models import Q

        from scheduling.due import Kind, register_kind
        from scheduling.relay import subscriber
        from tests.faults.alert_mutants import ALERT_MUTANTS
        from tests.faults.models import Chore
        from tests.faults.product_mutants import PRODUCT_MUTANTS
        from tests.faults.work import MUTANTS, THREADS, do_chore, hear, tell
        from tests.races.mutants.faults import MUTANTS as RACES_MUTANTS

        register_kind(Kind("chore", model=Chore, work=do_chore, only=Q(is_waiting=False)))
        waiting = Q(is_waiting=True)
        register_kind(Kind("wait", model=Chore, work=do_chore, only=waiting, threads=THREADS))
        subscriber("fault")(tell)
        subscriber("execution.changed")(hear)
        mutants = MUTANTS | ALERT_MUTANTS | PRODUCT_MUTANTS | RACES_MUTANTS
        mutants[os.environ.get("MUTANT", "")]()
