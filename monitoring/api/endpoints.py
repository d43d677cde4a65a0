"""One table of the API's operations: addresses, OpenAPI and the page for people come from it.

    @operation("GET", "/api/limits", access=Access(None), subject="About", answers=(...))
    def limits(request: ApiRequest) -> HttpResponse: ...

What is not in the table has no address, and what is in it is documented, so the document can't lie.
Higher apps enter theirs by importing their API's modules in `AppConfig.ready`, before the addresses
are made: one order holds over all, because ids are greedy.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from django.views.decorators.csrf import csrf_exempt

from monitoring.api.parameters import Parameter
from tenants import problems
from tenants.api_access import Access, api_endpoint
from tenants.problems import Problem, problem_response

View = Callable[..., HttpResponseBase]


@dataclasses.dataclass(frozen=True, slots=True)
class Body:
    """What an operation takes: one message of these types, or (`is_list`) many.

    `examples` are whole bodies; tests send them.
    """

    types: tuple[Any, ...]
    content_types: tuple[str, ...]
    examples: Mapping[str, Any]
    is_list: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One successful answer with an example of it."""

    status: int
    description: str
    type: Any
    example: Any
    content_type: str = "application/json"


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `access` None: open to everybody, without a tenant."""

    method: str
    path: str
    name: str
    access: Access | None
    subject: str
    view: View
    answers: tuple[Answer, ...]
    query: tuple[Parameter[Any], ...] = ()
    headers: tuple[Parameter[Any], ...] = ()
    body: Body | None = None
    problems: tuple[int, ...] = ()
    capability: str = ""

    @property
    def summary(self) -> str:
        """The first sentence of the view's docstring."""
        return self._text[0].replace("\n", " ")

    @property
    def description(self) -> str:
        """The rest of the view's docstring."""
        return self._text[2].strip()

    @property
    def _text(self) -> tuple[str, str, str]:
        return (inspect.getdoc(self.view) or "").partition("\n\n")


OPERATIONS: list[Operation] = []


def operation(
    method: str,
    path: str,
    *,
    name: str,
    access: Access | None,
    subject: str,
    answers: Sequence[Answer],
    query: Sequence[Parameter[Any]] = (),
    headers: Sequence[Parameter[Any]] = (),
    body: Body | None = None,
    problems: Sequence[int] = (),
    capability: str = "",
) -> Callable[[View], View]:
    """Enter a view into the table; its docstring is what people read about it.

    `capability` are the words by which clients see in `/api/limits` that this server can do it.
    """

    def enter(view: View) -> View:
        OPERATIONS.append(
            Operation(
                method=method,
                path=path,
                name=name,
                access=access,
                subject=subject,
                view=view,
                answers=tuple(answers),
                query=tuple(query),
                headers=tuple(headers),
                body=body,
                problems=tuple(problems),
                capability=capability,
            )
        )
        return view

    return enter


# --- addresses ----------------------------------------------------------------------------------

_PLACE = re.compile(r"\{(\w+)\}")


def url_patterns() -> list[URLPattern]:
    """The addresses of all operations, in the order in which they must be tried.

    Ids are any text, slashes included (servers hand paths over decoded), so fixed parts decide:
    addresses without an id come first, then those with the longest fixed end, and an id takes all
    it can.
    """
    by_path: dict[str, list[Operation]] = {}
    for entry in OPERATIONS:
        by_path.setdefault(entry.path, []).append(entry)
    return [
        re_path(pattern_of(path), _endpoint(by_path[path]), name=f"api-{by_path[path][0].name}")
        for path in sorted(by_path, key=_rank)
    ]


def pattern_of(path: str) -> str:
    """The regular expression of a path template such as `/api/workflows/{workflow_id}/metrics`."""
    parts = _PLACE.split(path.removeprefix("/"))
    fixed = [re.escape(part) for part in parts[::2]]
    places = [rf"(?P<{name}>[\s\S]+)" for name in parts[1::2]] + [""]
    text = "".join(text + place for text, place in zip(fixed, places, strict=True))
    return f"^{text}\\Z"


def _rank(path: str) -> tuple[bool, int, int]:
    _, _, end = path.rpartition("}")
    return "{" in path, -len(end) if "{" in path else 0, -len("".join(_PLACE.split(path)[::2]))


def _endpoint(operations: Sequence[Operation]) -> View:
    """The view of one address: lets callers in and hands over to the method's own view."""
    if operations[0].access is None:
        return _public(operations[0])
    views = {entry.method: entry.view for entry in operations}

    @functools.wraps(operations[0].view)
    def view(request: HttpRequest, **ids: str) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method or ""
        return views[method](request, **ids)

    methods = {entry.method: entry.access for entry in operations if entry.access}
    return api_endpoint(**methods)(view)


def _public(entry: Operation) -> View:
    """A view of an address that is open to everybody and knows GET only."""
    allowed = ("GET", "HEAD", "OPTIONS")

    @csrf_exempt
    @functools.wraps(entry.view)
    def view(request: HttpRequest) -> HttpResponseBase:
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": ", ".join(allowed)})
        if request.method not in allowed:
            return problem_response(problems.method_not_allowed(allowed))
        try:
            return entry.view(request)
        except Problem as problem:
            return problem_response(problem)

    return view
