"""The filters of the executions list: an address' parameters, a form, and the question they ask."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django import forms
from django.forms.renderers import BaseRenderer
from django.forms.utils import flatatt
from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from monitoring import history
from monitoring.history import ExecutionQuery
from monitoring.models import Environment, ErrorGroup, Workflow
from monitoring.pages.time_range import PageRange, page_range
from monitoring.query_text import parse_query, query_text
from monitoring.recording.fingerprint import FINGERPRINT_BYTES
from monitoring.words import LOST, Status
from tenants.ui.icons import status_word
from tenants.ui.numbers import duration

MOST_WORKFLOWS: Final = 200
"""Workflows that a piece of a name may mean at once."""

MOST_SUGGESTIONS: Final = 50
NOTHING: Final = (0,)
"""Numbers of workflows that match no execution."""

CURSORS: Final = ("after", "before")
TIMES: Final = ("range", "start", "end")
USUAL_TRIGGERS: Final = ("webhook", "schedule", "manual", "form", "event", "retry", "sub-workflow")

_UNITS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"(\d{1,9}(?:[.,]\d{1,3})?)\s*(ms|s|min|m|h|d)?", re.I)


class DurationField(forms.CharField):
    """A length of time as people write it ("840 ms", "30 s", "2 min", "1.5 h"), in milliseconds.

    A number alone is seconds.
    """

    def clean(self, value: Any) -> int | None:
        text = super().clean(value)
        if not text:
            return None
        found = _DURATION.fullmatch(text.strip())
        if found is None:
            raise forms.ValidationError("Write a duration such as 840 ms, 30 s or 2 min.")
        number, unit = found.groups()
        return round(float(number.replace(",", ".")) * _UNITS[(unit or "s").lower()])


class Box(forms.TextInput):
    """A text box written at once: Django's renders two templates for each."""

    def render(
        self,
        name: str,
        value: Any,
        attrs: Mapping[str, Any] | None = None,
        renderer: BaseRenderer | None = None,
    ) -> SafeString:
        own = {"type": self.input_type, "name": name}
        said = self.format_value(value)
        if said is not None:
            own["value"] = said
        return format_html("<input{}>", flatatt(own | self.attrs | dict(attrs or {})))


class ExecutionFilter(forms.Form):
    """What the list can be narrowed by; every field may be empty."""

    error = forms.CharField(max_length=200, label="Error text", widget=Box)
    workflow = forms.CharField(max_length=300, widget=Box)
    environment = forms.ChoiceField(choices=[("", "All")])
    status = forms.MultipleChoiceField(
        choices=[*((s.slug, s.slug) for s in Status), (LOST, LOST)],
        widget=forms.CheckboxSelectMultiple,  # a list's options would have no ids
    )
    trigger = forms.CharField(max_length=255, widget=Box)
    min = DurationField(max_length=20, label="At least", widget=Box)
    max = DurationField(max_length=20, label="At most", widget=Box)
    version = forms.CharField(max_length=255, widget=Box)
    id = forms.CharField(max_length=255)
    tag = forms.CharField(max_length=255)
    fingerprint = forms.RegexField(rf"^[0-9a-f]{{{2 * FINGERPRINT_BYTES}}}\Z", strip=True)

    def __init__(
        self, params: MultiValueDict[str, str], environments: Iterable[Environment]
    ) -> None:
        super().__init__(params, auto_id="filter-%s")
        for field in self.fields.values():
            field.required = False
        environment = self.fields["environment"]
        assert isinstance(environment, forms.ChoiceField)
        environment.choices = [("", "All"), *((str(one.pk), one.name) for one in environments)]
        for name, attributes in _ATTRIBUTES.items():
            self.fields[name].widget.attrs |= attributes


_ATTRIBUTES: Final[Mapping[str, Mapping[str, str]]] = {
    "error": {"type": "search", "placeholder": "Words of the message"},
    "workflow": {"type": "search", "placeholder": "Name or id", "list": "filter-workflows"},
    "trigger": {"type": "search", "placeholder": "Any", "list": "filter-triggers"},
    "min": {"placeholder": "30 s", "size": "6"},
    "max": {"placeholder": "5 min", "size": "6"},
}


@dataclass(frozen=True, slots=True)
class ActiveFilter:
    """A filter that is set: what people read, and the address without it."""

    label: str
    off_url: str


class Filters:
    """The filters of one address, understood for the scope's tenant.

    `q`, what was typed into the query bar, stands for all other parameters: `params` are those that it
    means. Where part of what is asked makes no sense, it asks for nothing: answering the rest would
    show, export or delete what nobody asked for.
    """

    def __init__(self, request: HttpRequest) -> None:
        self.time_range: PageRange = page_range(request)
        self.typed = request.GET.get("q")
        self._misread: list[str] = [self.time_range.problem] if self.time_range.problem else []
        self.params = request.GET if self.typed is None else self._params_of(request.GET)

    def _params_of(self, given: QueryDict) -> QueryDict:
        """The parameters with what the query bar's text means instead of all filters."""
        params = given.copy()
        for name in ("q", *self.narrowing):
            params.pop(name, None)
        asked = parse_query(self.typed or "")
        self._misread += asked.problems
        if asked.word and history.find_by_any_id(asked.word):
            asked.values["id"] = asked.values.pop("error")
        for name in asked.values.pop("environment", []):
            if (environment := self._environment_named(name)) is not None:
                params["environment"] = str(environment.pk)
        for name, values in asked.values.items():
            params.setlist(name, values)
        return params

    def _environment_named(self, name: str) -> Environment | None:
        for environment in self.environments:
            if environment.name.casefold() == name.casefold():
                return environment
        names = ", ".join(environment.name for environment in self.environments[:20])
        self._misread.append(f"There is no environment “{name}”: there are {names or 'none yet'}.")
        return None

    @cached_property
    def trouble(self) -> list[str]:
        """What was not understood, for people; then nothing matches."""
        return [*self._misread, *self.problems]

    @property
    def query_problems(self) -> list[str]:
        """What of the query bar's text makes no sense, for people."""
        return [] if self.typed is None else self.trouble

    @cached_property
    def query_text(self) -> str:
        """What the query bar shows: what was typed where it makes no sense, else the filters."""
        if self.typed is not None and self.query_problems:
            return self.typed
        values = {name: self.params.getlist(name) for name in self.narrowing}
        given = self._given
        values["status"] = given.get("status", [])
        values["environment"] = (
            [self._environment_name(int(given["environment"]))] if "environment" in given else []
        )
        if self._workflow is not None:
            values["workflow"] = [self._label_of(self._workflow)]
        return query_text(values)

    @cached_property
    def environments(self) -> list[Environment]:
        return list(Environment.objects.all())

    @cached_property
    def form(self) -> ExecutionFilter:
        """The form, with the chosen workflow by its name where the address has its number."""
        if self._workflow is None:
            return self._form_as_given
        params = self.params.copy()
        params["workflow"] = self._label_of(self._workflow)
        form = ExecutionFilter(params, self.environments)
        form.is_valid()
        return form

    @cached_property
    def _form_as_given(self) -> ExecutionFilter:
        form = ExecutionFilter(self.params, self.environments)
        form.is_valid()
        return form

    @cached_property
    def _given(self) -> dict[str, Any]:
        given = self._form_as_given.cleaned_data
        return {name: value for name, value in given.items() if value not in ("", None, [])}

    @cached_property
    def _workflow(self) -> Workflow | None:
        """The workflow that the address names by our number."""
        text = self._given.get("workflow", "")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            return None
        return Workflow.objects.filter(pk=int(text)).first()

    @cached_property
    def workflow_ids(self) -> tuple[int, ...]:
        """The workflows that are meant; NOTHING when the text fits none."""
        text = self._given.get("workflow", "")
        if not text:
            return ()
        if self._workflow is not None:
            return (self._workflow.pk,)
        return tuple(self._named(text)) or NOTHING

    def _named(self, text: str) -> list[int]:
        name, _, environment = text.rpartition(_BETWEEN)
        exact = Workflow.objects.filter(name=text) | Workflow.objects.filter(external_id=text)
        if name:
            exact |= Workflow.objects.filter(name=name, environment__name=environment)
        ids = list(exact.values_list("pk", flat=True)[:MOST_WORKFLOWS])
        if ids:
            return ids
        like = Workflow.objects.named_like(text.strip("*"))
        return list(like.order_by("name", "id").values_list("pk", flat=True)[:MOST_WORKFLOWS])

    @cached_property
    def query(self) -> ExecutionQuery:
        """What is asked for."""
        if self.trouble:
            return ExecutionQuery(
                workflow_ids=NOTHING, start=self.time_range.start, end=self.time_range.end
            )
        given = self._given
        environment = given.get("environment")
        ids = self._ids
        fingerprint = given.get("fingerprint")
        signs = frozenset(given.get("status", ()))
        return ExecutionQuery(
            workflow_ids=self.workflow_ids,
            environment_id=int(environment) if environment else None,
            statuses=frozenset(Status[slug.upper()] for slug in signs - {LOST}),
            lost=LOST in signs,
            trigger=given.get("trigger", ""),
            # Who asks for an id means that one, whenever it ran.
            start=self.time_range.start if ids is None else None,
            end=None if ids is not None or self.time_range.range.preset else self.time_range.end,
            error_text=given.get("error", ""),
            fingerprint=bytes.fromhex(fingerprint) if fingerprint else None,
            min_duration_ms=given.get("min"),
            max_duration_ms=given.get("max"),
            version=given.get("version", ""),
            tag=given.get("tag", ""),
            ids=ids,
        )

    @property
    def _ids(self) -> tuple[uuid.UUID, ...] | None:
        """The executions that the id means, ours or a sender's; None when none is asked for."""
        text = self._given.get("id", "")
        return tuple(one.id for one in history.find_by_any_id(text)) if text else None

    def workflow_suggestions(self) -> list[str]:
        """Names that hold what was typed; with the environment where a name alone means several."""
        found = Workflow.objects.named_like(self._given.get("workflow", "").strip("*"))
        found = found.only("name", "environment_id").order_by("name", "id")[:MOST_SUGGESTIONS]
        names = Counter(workflow.name for workflow in found)
        return [self._label_of(w) if names[w.name] > 1 else w.name for w in found]

    def _label_of(self, workflow: Workflow) -> str:
        if len(self.environments) < 2:
            return workflow.name
        return f"{workflow.name}{_BETWEEN}{self._environment_name(workflow.environment_id)}"

    def _environment_name(self, environment_id: int) -> str:
        return next((e.name for e in self.environments if e.pk == environment_id), "?")

    @cached_property
    def active(self) -> list[ActiveFilter]:
        """The filters that are set, as people say them."""
        given = self._given
        said: list[ActiveFilter] = []
        for name, label in _LABELS.items():
            if name in given:
                said.append(
                    ActiveFilter(f"{label}: {self._said(name, given[name])}", self.address(name))
                )
        return said

    def _said(self, name: str, value: Any) -> str:
        if name == "workflow" and self._workflow is not None:
            return self._label_of(self._workflow)
        if name == "environment":
            return self._environment_name(int(value))
        if name == "status":
            return ", ".join(status_word(slug).lower() for slug in value)
        if name in ("min", "max"):
            return duration(value)
        if name == "fingerprint":
            return self._title_of_error(value)
        return str(value)[:80]

    def _title_of_error(self, fingerprint: str) -> str:
        groups = ErrorGroup.objects.filter(fingerprint=bytes.fromhex(fingerprint))
        title = groups.values_list("title", flat=True).first()
        return f"“{Truncator(title).chars(_TITLE_LENGTH)}”" if title else fingerprint

    def address(self, *without: str, **changed: str) -> str:
        """This address' parameters as "?a=b", without cursors and `without`, with `changed`."""
        params = self.params.copy()
        for name in (*CURSORS, *without, *changed):
            params.pop(name, None)
        for name, value in changed.items():
            params[name] = value
        return "?" + params.urlencode()

    @property
    def cleared_address(self) -> str:
        """This address without filters, and without a time range that makes no sense."""
        return self.address(*self.narrowing, *(TIMES if self.time_range.problem else ()))

    @property
    def narrowing(self) -> tuple[str, ...]:
        """The parameters that narrow the list beside the time range."""
        return tuple(ExecutionFilter.base_fields)

    @property
    def problems(self) -> list[str]:
        """What of the parameters was not understood, for people."""
        return [
            f"{self.form.fields[name].label or name.capitalize()}: {errors[0]}"
            for name, errors in self.form.errors.items()
        ]


_TITLE_LENGTH: Final = 80
_BETWEEN: Final = " · "
_LABELS: Final = {
    "error": "error",
    "workflow": "workflow",
    "environment": "environment",
    "status": "status",
    "trigger": "trigger",
    "min": "at least",
    "max": "at most",
    "version": "version",
    "fingerprint": "same error",
    "id": "id",
    "tag": "tag",
}
