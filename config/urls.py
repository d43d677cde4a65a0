"""All addresses: health for machines, the admin for the vendor, then what the apps offer."""

from django.contrib import admin
from django.urls import include, path, re_path

from config import health
from config.telemetry.view import metrics
from tenants.api_access import unknown_api_path

urlpatterns = [
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("health/detailed", health.detailed, name="health-detailed"),
    path("metrics", metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("", include("tenants.urls")),
    path("", include("monitoring.urls")),
    path("", include("scheduling.urls")),
    path("", include("alerts.urls")),
    # Last: what no app answers under a machine's paths is problem+json, not a page.
    re_path(r"^(?:api|v1)/", unknown_api_path),
]
handler400 = "tenants.errors.refused"
handler403 = "tenants.errors.forbidden"
handler404 = "tenants.errors.not_found"
handler500 = "tenants.errors.broken"
