"""Addresses of scheduling's pages; its API's come from monitoring's table of operations."""

from django.urls import path

from scheduling.pages import comparison, removal, scans, schedules, status

app_name = "scheduling"

_SCANS = "t/<slug:slug>/scans/"
_SCAN = f"{_SCANS}<int:scan_id>/"
_SCHEDULES = f"{_SCANS}schedules/"
_SCHEDULE = f"{_SCHEDULES}<int:schedule_id>/"

urlpatterns = [
    path(_SCANS, scans.scan_list, name="scans"),
    path(f"{_SCANS}start/", scans.start, name="scan-start"),
    path(_SCAN, scans.scan_page, name="scan"),
    path(f"{_SCAN}cancel/", scans.cancel, name="scan-cancel"),
    path(f"{_SCAN}compare/<int:other_id>/", comparison.compare, name="scan-compare"),
    path(f"{_SCHEDULES}new/", schedules.schedule_new, name="schedule-new"),
    path(_SCHEDULE, schedules.schedule_change, name="schedule"),
    path(f"{_SCHEDULE}delete/", schedules.schedule_delete, name="schedule-delete"),
    path("t/<slug:slug>/settings/retention/run/", removal.run_now, name="removal-run"),
    path("internal/scheduler-status", status.scheduler_status_json, name="scheduler-status"),
    path("status/", status.status, name="status"),
    path("status/try-again/", status.try_again, name="status-try-again"),
]
