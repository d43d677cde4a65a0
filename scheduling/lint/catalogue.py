"""The rules as a table for people; docs/lint.md holds it, and a test keeps it in step."""

from __future__ import annotations

from scheduling.lint.engine import rules


def table() -> str:
    """Every rule in Markdown: id, severity, what it finds and lets pass, how to mend it in n8n."""
    head = ["| rule | severity | finds | mend it in n8n |", "| --- | --- | --- | --- |"]
    lines = [
        f"| `{rule.id}` | {rule.severity.slug} | **{rule.title}** {_line(rule.explanation)}"
        f" | {_line(rule.fixes['n8n'])} |"
        for rule in rules()
    ]
    return "\n".join([*head, *lines])


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
