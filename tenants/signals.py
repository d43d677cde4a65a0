"""What must follow at once when a tenant or token was changed, wherever that happened."""

from typing import Any

from django.db.models.signals import post_delete, post_save

from tenants.models import ApiToken, Tenant
from tenants.tokens import forget_cached_tokens


def _forget_tokens(**_kwargs: Any) -> None:
    forget_cached_tokens()


def connect() -> None:
    """Connect the receivers; called once, when the app is ready."""
    for model in (ApiToken, Tenant):
        post_save.connect(_forget_tokens, sender=model, dispatch_uid="forget-tokens")
        post_delete.connect(_forget_tokens, sender=model, dispatch_uid="forget-tokens")
