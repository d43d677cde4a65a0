"""`{% rows … %}`: a loop for long lists, compiled once into plain Python.

Django's own `for` looks every `{{ row.name }}` up anew in a stack of contexts: over a hundred
microseconds for a row of ten cells. Here the body may hold only what needs no context: text, the
loop's variables with filters, `if`, inner `for` loops and simple tags. Anything else is an error
when the template is read. Stricter than Django: a row that lacks an attribute, or compares what can't
be compared, is an error when it is shown.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from django import template
from django.template import Context, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, TextNode, Token, Variable, VariableNode
from django.template.defaulttags import ForNode, IfNode, TemplateLiteral
from django.template.library import SimpleNode
from django.utils.safestring import SafeString, mark_safe

from tenants.ui.markup import escaped

register = template.Library()

Scope: TypeAlias = dict[str, Any]
"""The loops' variables."""

Value: TypeAlias = Callable[[Scope], Any]
Text: TypeAlias = Callable[[Scope], str]
Names: TypeAlias = frozenset[str]


@register.tag("rows")
def rows(parser: Parser, token: Token) -> Node:
    """`{% rows listings as row %}<tr>…{{ row.name }}…</tr>{% endrows %}`."""
    words = token.split_contents()
    if len(words) != 4 or words[2] != "as":
        raise TemplateSyntaxError("Write {% rows <list> as <name> %}.")
    body = parser.parse(("endrows",))
    parser.delete_first_token()
    return RowsNode(parser.compile_filter(words[1]), words[3], _nodes(body, frozenset([words[3]])))


class RowsNode(Node):
    """Joins what the compiled body says of each item."""

    def __init__(self, items: FilterExpression, name: str, body: Text) -> None:
        self.items, self.name, self.body = items, name, body

    def render(self, context: Context) -> SafeString:
        name, body = self.name, self.body
        items = self.items.resolve(context, ignore_failures=True) or ()
        return mark_safe("".join([body({name: item}) for item in items]))  # noqa: S308 - escaped below


# --- nodes ----------------------------------------------------------------------------------------
def _nodes(nodes: NodeList, names: Names) -> Text:
    """One pattern with a place for each piece that changes."""
    pattern, pieces = "", []
    for node in nodes:
        if isinstance(node, TextNode):
            pattern += node.s.replace("%", "%%")
        else:
            pattern += "%s"
            pieces.append(_node(node, names))
    if not pieces:
        constant = pattern.replace("%%", "%")
        return lambda scope: constant
    return lambda scope: pattern % tuple([piece(scope) for piece in pieces])


def _node(node: Node, names: Names) -> Text:
    for kind, compiled in _COMPILERS.items():
        if isinstance(node, kind):
            found: Text = compiled(node, names)
            return found
    raise TemplateSyntaxError(f"{type(node).__name__} needs a context, which rows don't have.")


def _variable(node: VariableNode, names: Names) -> Text:
    return _said(_value(node.filter_expression, names))


def _simple_tag(node: SimpleNode, names: Names) -> Text:
    if node.takes_context or node.target_var is not None:
        raise TemplateSyntaxError(f"{node.func.__name__} needs a context, which rows don't have.")
    function = node.func
    args = [_value(arg, names) for arg in node.args]
    kwargs = {name: _value(arg, names) for name, arg in node.kwargs.items()}
    return _said(
        lambda scope: function(
            *[arg(scope) for arg in args], **{name: arg(scope) for name, arg in kwargs.items()}
        )
    )


def _said(value: Value) -> Text:
    """The text of a value, escaped unless it is marked as safe."""

    def said(scope: Scope) -> str:
        found = value(scope)
        return found if isinstance(found, SafeString) else escaped(str(found))

    return said


def _if(node: IfNode, names: Names) -> Text:
    branches = [
        (_condition(condition, names) if condition is not None else _always, _nodes(body, names))
        for condition, body in node.conditions_nodelists
    ]

    def chosen(scope: Scope) -> str:
        return next((body(scope) for condition, body in branches if condition(scope)), "")

    return chosen


def _always(scope: Scope) -> bool:
    return True


def _for(node: Any, names: Names) -> Text:
    if len(node.loopvars) != 1 or node.is_reversed:
        raise TemplateSyntaxError("A loop in rows has one variable.")
    [name] = node.loopvars
    items = _value(node.sequence, names)
    body = _nodes(node.nodelist_loop, names | {name})

    def looped(scope: Scope) -> str:
        found: Iterable[Any] = items(scope)
        return "".join([body({**scope, name: item}) for item in found])

    return looped


_COMPILERS: Final[dict[type[Node], Callable[[Any, Names], Text]]] = {
    VariableNode: _variable,
    IfNode: _if,
    ForNode: _for,
    SimpleNode: _simple_tag,
}


# --- expressions ----------------------------------------------------------------------------------
def _value(expression: FilterExpression, names: Names) -> Value:
    value = _looked_up(expression.var, names)
    for function, args in expression.filters:
        if getattr(function, "needs_autoescape", False):
            raise TemplateSyntaxError(
                f"{function.__name__} needs a context, which rows don't have."
            )
        given = [
            _looked_up(arg if is_variable else _Constant(arg), names) for is_variable, arg in args
        ]
        value = partial(_filtered, function, value, given)
    return value


_BUILTINS: Final = {"None": None, "True": True, "False": False}


class _Constant:
    """An argument of a filter that was written out."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _looked_up(var: Any, names: Names) -> Value:
    if not isinstance(var, Variable):
        constant = var.value if isinstance(var, _Constant) else var
        return lambda scope: constant
    if var.lookups is None:
        literal = var.literal
        return lambda scope: literal
    name, *path = var.lookups
    if not path and name in _BUILTINS:
        builtin = _BUILTINS[name]
        return lambda scope: builtin
    if name not in names:
        raise TemplateSyntaxError(f"{name} is no variable of these rows.")
    if not path:
        return operator.itemgetter(name)
    return partial(_attribute, operator.attrgetter(".".join(path)), name, path)


def _attribute(get: Value, name: str, path: list[str], scope: Scope) -> Any:
    """An attribute of an attribute …; of a dict, its item."""
    value = scope[name]
    if not isinstance(value, dict):
        return get(value)
    for part in path:
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    return value


def _filtered(function: Callable[..., Any], value: Value, args: list[Value], scope: Scope) -> Any:
    before = value(scope)
    after = function(before, *[arg(scope) for arg in args])
    if getattr(function, "is_safe", False) and isinstance(before, SafeString):
        return mark_safe(after)  # noqa: S308 - the filter says that it keeps safe text safe
    return after


def _condition(condition: Any, names: Names) -> Value:
    """A condition of `if`: an expression, or an operator over some."""
    if isinstance(condition, TemplateLiteral):
        expression: Any = condition.value
        return _value(expression, names)
    first = _condition(condition.first, names)
    if condition.id == "not":
        return lambda scope: not first(scope)
    second = _condition(condition.second, names)
    if condition.id == "and":
        return lambda scope: first(scope) and second(scope)
    if condition.id == "or":
        return lambda scope: first(scope) or second(scope)
    compare = _COMPARISONS.get(condition.id)
    if compare is None:
        raise TemplateSyntaxError(f"rows don't know {condition.id!r}.")
    return lambda scope: compare(first(scope), second(scope))


_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "is": operator.is_,
    "is not": operator.is_not,
}
