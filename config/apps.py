"""Registers the checks of the installation."""

from django.apps import AppConfig


class ConfigAppConfig(AppConfig):
    """Holds the commands that concern the whole product, and its checks."""

    name = "config"

    def ready(self) -> None:
        """Let Django know the checks."""
        from config import checks  # noqa: F401 - registers itself; needs loaded apps
