"""Model objects from SQL that is written out, for what every page asks.

To compose a queryset's SQL costs Python more than PostgreSQL takes to answer it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models

_Model = TypeVar("_Model", bound=models.Model)


@cache
def names_of(model: type[models.Model], only: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Attributes of a model's columns, all or `only` some, in the order of `columns_of`."""
    return tuple(
        field.attname for field in model._meta.concrete_fields if not only or field.attname in only
    )


@cache
def columns_of(model: type[models.Model], alias: str, only: tuple[str, ...] = ()) -> str:
    """The columns as a list in SQL: "alias.id, alias.name"."""
    return ", ".join(
        f"{alias}.{field.column}"
        for field in model._meta.concrete_fields
        if not only or field.attname in only
    )


def made(model: type[_Model], values: Sequence[Any], only: tuple[str, ...] = ()) -> _Model:
    """The object of a row with `columns_of`; for fields that need no conversion, as JSON does."""
    return model.from_db(DEFAULT_DB_ALIAS, names_of(model, only), values)
