"""Addresses of the API, made from the table of its operations."""

from monitoring.api import (  # noqa: F401 - importing enters their operations into the table
    about,
    batch,
    definitions,
    executions,
    heartbeats,
    ingest,
    observability,
    observed_executions,
    pings,
    workflow_executions,
    workflow_numbers,
    workflows,
)
from monitoring.api.endpoints import url_patterns

urlpatterns = url_patterns()
