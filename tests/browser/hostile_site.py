"""A tenant in which every text that can be sent or typed is one of the payloads.

There is one execution for each payload, and each field of it takes another one: over all executions
every field holds every payload.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone

from monitoring import bulk
from monitoring.history import ExecutionQuery, cursor_of
from monitoring.models import Environment, Execution, Workflow
from monitoring.providers.n8n import error_workflow
from monitoring.recording.environments import source_for
from monitoring.recording.schema import decode, full_execution, short_log
from monitoring.recording.store import record_executions
from tenants import audit
from tenants.models import Membership, Role, Scope, Tenant, User
from tenants.roles import Role as _Role
from tenants.scoping import tenant_scope
from tenants.tokens import issue_token
from tests.browser.payloads import PAYLOADS
from tests.security.world import Ids
