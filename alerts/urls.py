"""Addresses of alerts' pages; those of its API are in monitoring's table of operations."""

from alerts.pages.urls import urlpatterns

app_name = "alerts"
__all__ = ["app_name", "urlpatterns"]
