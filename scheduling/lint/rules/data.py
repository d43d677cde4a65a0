"""Parameters and expressions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from monitoring.expressions import pieces_of
from monitoring.graph import Node, NodeKind
from monitoring.words import Severity
from scheduling.lint.base import NodeRule, Subject, Violation, register

_CODE_FIELDS: Final = frozenset({"jsCode", "functionCode"})
_NAME: Final = r"(?:'((?:[^'\\\n]|\\.)+)'|\"((?:[^\"\\\n]|\\.)+)\"|`((?:[^`\\$]|\\.)+)`)"
_REFERENCE: Final = re.compile(
    rf"(?<![\w$.])(?:\$\(\s*{_NAME}\s*[,)]|\$node\[\s*{_NAME}\s*\]|\$items\(\s*{_NAME}\s*[,)])"
)
_COMMENT_BEGINS: Final = re.compile(r"(?<![:\"'`\\])//|/\*")
_ESCAPE: Final = re.compile(r"\\(.)")
# Code that gives `$` a meaning of its own (cheerio, jQuery).
_OWN_DOLLAR: Final = re.compile(r"cheerio|jquery|\$\s*=[^=]", re.IGNORECASE)


@register
class ReferenceToMissingNode(NodeRule):
    """An expression names a node that does not exist.

    `$('Name')`, `$node["Name"]` and `$items("Name")` fail when they are evaluated. Names in comments of
    a Code node are fine.
    """

    id, severity = "reference-to-missing-node", Severity.CRITICAL
    fixes = {
        "n8n": "Open the node and put the present name into the expression: n8n follows a renaming only"
        " when it is done in the editor.",
        "": "Correct the name in the expression.",
    }

    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Look at every expression and all code of a node that runs."""
        graph = subject.graph
        if graph.provider != "n8n" or node.key not in graph.reached:
            return
        missing = {
            name: None
            for field, text in subject.strings[number]
            for name in _references(field, text)
            if name not in graph.by_key
        }
        for name in missing:
            message = f"An expression in “{node.name}” names “{name}”, which does not exist."
            yield self.violation(subject, message, node, detail=name)


def _references(field: str, text: str) -> Iterator[str]:
    """The names of nodes that a field's expressions or code use."""
    if "$" not in text:
        return
    if field in _CODE_FIELDS:
        pieces = [] if _OWN_DOLLAR.search(text) else [_without_comments(text)]
    else:
        pieces = (
            [each for each, is_expression in pieces_of(text) if is_expression]
            if text.startswith("=")
            else []
        )
    for piece in pieces:
        for match in _REFERENCE.finditer(piece):
            yield _ESCAPE.sub(r"\1", next(group for group in match.groups() if group))


def _without_comments(code: str) -> str:
    """The code with a space for each comment, in linear time; `/*` that never ends begins none."""
    kept: list[str] = []
    copied = at = 0
    last_end = code.rfind("*/")
    while found := _COMMENT_BEGINS.search(code, at):
        begin, after = found.span()
        if found[0] == "//":
            line_end = code.find("\n", after)
            at = len(code) if line_end < 0 else line_end
        elif after <= last_end:
            at = code.index("*/", after) + 2
        else:
            at = begin + 1
            continue
        kept.append(code[copied:begin])
        copied = at
    return " ".join([*kept, code[copied:]])


# --- missing parameters ---------------------------------------------------------------------------

_Parameters = Mapping[str, Any]
_Missing = Callable[[_Parameters, float], str]


def _is_empty(value: Any) -> bool:
    """Whether a parameter says nothing; n8n wraps what is picked from a list ({"__rl", "value"})."""
    if isinstance(value, Mapping):
        return _is_empty(value.get("value")) if "value" in value else not value
    if isinstance(value, str):
        return value.strip() in ("", "=")
    return value is None or value == []


def _needs(name: str, said: str) -> _Missing:
    return lambda parameters, version: said if _is_empty(parameters.get(name)) else ""


def _code(parameters: _Parameters, version: float) -> str:
    """Without the field, n8n runs its sample code."""
    name = "pythonCode" if parameters.get("language") in ("python", "pythonNative") else "jsCode"
    field = name if name in parameters else "functionCode"
    return "code" if field in parameters and _is_empty(parameters[field]) else ""


_TARGETS: Final = {"parameter": "workflowJson", "localFile": "workflowPath", "url": "workflowUrl"}


def _called_workflow(parameters: _Parameters, version: float) -> str:
    name = _TARGETS.get(str(parameters.get("source", "")), "workflowId")
    return "workflow to call" if _is_empty(parameters.get(name)) else ""


def _condition(parameters: _Parameters, version: float) -> str:
    """IF and Filter: version 2 has a list of comparisons, version 1 lists by type."""
    conditions = parameters.get("conditions")
    if not isinstance(conditions, Mapping):
        return "condition"
    listed = conditions.get("conditions") if version >= 2 else None
    if not isinstance(listed, list):
        listed = [each for some in conditions.values() if isinstance(some, list) for each in some]
    return "condition" if all(map(_compares_nothing, listed)) else ""


def _compares_nothing(condition: Any) -> bool:
    """Whether a comparison is as empty as the editor makes it."""
    if not isinstance(condition, Mapping):
        return True
    sides = ("leftValue", "rightValue", "value1", "value2")
    return all(_is_empty(condition.get(side)) for side in sides)


def _rules(parameters: _Parameters, version: float) -> str:
    """Switch: rules, or in the mode “expression” an output."""
    if parameters.get("mode", "rules") != "rules":
        return ""
    rules = parameters.get("rules")
    if not isinstance(rules, Mapping):
        return "rule"
    listed = rules.get("values", rules.get("rules"))
    return "" if isinstance(listed, list) and listed else "rule"


def _gmail(parameters: _Parameters, version: float) -> str:
    is_message = parameters.get("resource", "message") == "message"
    if not is_message or parameters.get("operation", "send") not in ("send", "sendAndWait"):
        return ""
    name = "sendTo" if version >= 2 else "toList"
    return "recipient" if _is_empty(parameters.get(name)) else ""


def _database(parameters: _Parameters, version: float) -> str:
    if parameters.get("operation", "insert") == "executeQuery":
        return "query" if _is_empty(parameters.get("query")) else ""
    return "table" if _is_empty(parameters.get("table")) else ""


_CHECKS: Final[Mapping[str, _Missing]] = {
    "httpRequest": _needs("url", "URL"),
    "emailSend": _needs("toEmail", "recipient"),
    "mailgun": _needs("toEmail", "recipient"),
    "gmail": _gmail,
    "code": _code,
    "function": _code,
    "functionItem": _code,
    "executeWorkflow": _called_workflow,
    "if": _condition,
    "filter": _condition,
    "switch": _rules,
    "postgres": _database,
    "mySql": _database,
    "microsoftSql": _database,
}


@register
class MissingRequiredParameter(NodeRule):
    """The node can't do its work: what it needs most is empty.

    An HTTP request without URL, a mail without recipient, a database node without query or table, a
    Code node without code, a call without workflow, a condition that compares nothing. A value that
    an expression gives is fine.
    """

    id, severity = "missing-required-parameter", Severity.CRITICAL
    fixes = {
        "n8n": "Open the node: the empty field is marked red in its Parameters. Fill it in, or delete"
        " the node when it is a leftover.",
        "": "Fill in the parameter, or remove the step.",
    }

    def check_node(self, number: int, node: Node, subject: Subject) -> Iterator[Violation]:
        """Look at the parameters of nodes that run, where the type is known."""
        if node.key not in subject.graph.reached:
            return
        missing = self._missing(node, subject.graph.provider)
        if missing:
            yield self.violation(subject, f"“{node.name}” has no {missing}.", node, detail=missing)

    def _missing(self, node: Node, provider: str) -> str:
        if provider != "n8n":
            return _needs("url", "URL")(node.parameters, 1) if node.kind is NodeKind.REQUEST else ""
        if not node.type.startswith("n8n-nodes-base."):
            return ""
        find = _CHECKS.get(node.type.rpartition(".")[2])
        return find(node.parameters, node.type_version) if find else ""
