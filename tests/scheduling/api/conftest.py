"""The same callers as for monitoring's API."""

from tests.monitoring.api.conftest import _fresh_caches, api, other_tenant, rival, tenant

__all__ = ["_fresh_caches", "api", "other_tenant", "rival", "tenant"]
