"""Addresses of monitoring: pages under `/t/<slug>/`, the API under `/api/`."""

from monitoring.api.urls import urlpatterns as api
from monitoring.pages.urls import urlpatterns as pages

app_name = "monitoring"
# The API comes first: its addresses are called most.
urlpatterns = [*api, *pages]
