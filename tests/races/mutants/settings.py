"""The tests' settings with one fault, which the variable MUTANT names."""

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.races.mutants.apps.MutantConfig"]
