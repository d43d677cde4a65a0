"""The admin as a vendor's operator uses it, a module for each subject.

Staff may look at everything; staff with `is_superuser` may change it. All that is changed is in the
audit log.
"""

from django.contrib import admin
from django.contrib.auth.models import Group

# Django looks for what is registered here, and nowhere else.
from tenants.admin import audit_log, people, tenants, tokens  # noqa: F401
from tenants.admin.base import AuditedAdmin, OperatorPermissions

__all__ = ["AuditedAdmin", "OperatorPermissions"]

# Operators are staff or not; nobody needs groups of permissions.
admin.site.unregister(Group)
