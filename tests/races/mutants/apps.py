"""An app that switches a fault on when the server starts."""

from __future__ import annotations

import os

from django.apps import AppConfig


class MutantConfig(AppConfig):
    """Switches on the fault that the environment names."""

    name = "tests.races.mutants"
    label = "mutants"

    def ready(self) -> None:
        from tests.races.mutants.faults import MUTANTS  # models can be imported from now on

        MUTANTS[os.environ["MUTANT"]]()
