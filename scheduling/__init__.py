"""When it must be looked at: what is due, schedules, scans and the linter."""
