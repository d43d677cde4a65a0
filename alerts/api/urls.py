"""Importing enters alerts' operations into the API's table (monitoring.api.endpoints)."""

from alerts.api import incidents, settings

__all__ = ["incidents", "settings"]
