"""What n8n's node types are: which start, branch, wait, and which talk to another system.

Types are compared without their package (`n8n-nodes-base.if` is `if`). What no table here names is an
app node, which sends; so a new app of n8n or a community package needs no entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from monitoring.graph import NodeKind, TriggerKind

LANGCHAIN: Final = "@n8n/n8n-nodes-langchain."


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


TRIGGERS: Final[Mapping[str, TriggerKind]] = {
    "manualTrigger": TriggerKind.MANUAL,
    "start": TriggerKind.MANUAL,
    "evaluationTrigger": TriggerKind.MANUAL,
    "webhook": TriggerKind.WEBHOOK,
    "mcpTrigger": TriggerKind.WEBHOOK,
    "formTrigger": TriggerKind.FORM,
    "chatTrigger": TriggerKind.CHAT,
    "manualChatTrigger": TriggerKind.MANUAL,
    "scheduleTrigger": TriggerKind.SCHEDULE,
    "cron": TriggerKind.SCHEDULE,
    "interval": TriggerKind.SCHEDULE,
    "executeWorkflowTrigger": TriggerKind.SUBWORKFLOW,
    "errorTrigger": TriggerKind.ERROR,
    "emailReadImap": TriggerKind.APP,
}

_KINDS: Final[Mapping[str, NodeKind]] = {
    "stickyNote": NodeKind.NOTE,
    "httpRequest": NodeKind.REQUEST,
    "graphql": NodeKind.REQUEST,
    "if": NodeKind.BRANCH,
    "switch": NodeKind.BRANCH,
    "filter": NodeKind.BRANCH,
    "compareDatasets": NodeKind.BRANCH,
    "textClassifier": NodeKind.BRANCH,
    "sentimentAnalysis": NodeKind.BRANCH,
    "guardrails": NodeKind.BRANCH,
    "splitInBatches": NodeKind.LOOP,
    "merge": NodeKind.MERGE,
    "wait": NodeKind.WAIT,
    "code": NodeKind.CODE,
    "function": NodeKind.CODE,
    "functionItem": NodeKind.CODE,
    "executeWorkflow": NodeKind.CALL,
    "stopAndError": NodeKind.STOP,
}

_LOCAL: Final = _names(
    "aggregate aiTransform code compareDatasets compression convertToFile crypto dataTable dateTime"
    " debugHelper editImage evaluation executeCommand executeWorkflow executionData extractFromFile"
    " filter form function functionItem guardrails html htmlExtract iCal if interval itemLists jwt"
    " limit markdown merge moveBinaryData n8nTrainingCustomerDatastore n8nTrainingCustomerMessenger"
    " noOp readBinaryFile readBinaryFiles readPDF readWriteFile removeDuplicates renameKeys"
    " respondToWebhook set simulate sort splitInBatches splitOut spreadsheetFile start stickyNote"
    " stopAndError summarize switch timeSaved totp wait writeBinaryFile xml"
)
# The other nodes of this package run models and tools through their helpers.
_SENDING_LANGCHAIN: Final = frozenset({"openAi", "anthropic", "googleGemini", "ollama"})

# Operations that only read; a node that says none is taken by its type's usual default.
_READING: Final = re.compile(
    r"^(?:get|list|search|find|read|lookup|download|select|query$|count|exists|info|check|validate"
    r"|history|retrieve|fetch|export|aggregate$|availability|describe)",
    re.IGNORECASE,
)
_READING_TYPES: Final = _names(
    "rssFeedRead emailReadImap hackerNews openWeatherMap nasa coinGecko marketstack wikipedia"
    " clearbit hunter peekalink oneSimpleApi googleAnalytics googlePageSpeed perplexity"
)
# What these do when no operation is stored (n8n leaves defaults out).
_READING_BY_DEFAULT: Final = _names(
    "googleSheets airtable postgres mySql mongoDb microsoftSql dropbox ftp reddit youTube supabase"
    " shopify wooCommerce n8n redis"
)
# To ask a model is a POST that changes nothing.
_MODELS: Final = re.compile(
    r"//(?:[\w.-]+\.)?(?:openai\.com|anthropic\.com|perplexity\.ai|openrouter\.ai|mistral\.ai|groq\.com"
    r"|deepseek\.com|cohere\.(?:ai|com)|generativelanguage\.googleapis\.com|openai\.azure\.com)\b"
)
_WRITING_FILES: Final = frozenset({"writeBinaryFile", "executeCommand", "ssh"})


def short(node_type: str) -> str:
    """A type without its package."""
    return node_type.rpartition(".")[2]


def trigger_of(node_type: str) -> TriggerKind | None:
    """What starts a node of this type, None when it is no trigger."""
    name = short(node_type)
    if name in TRIGGERS:
        return TRIGGERS[name]
    return TriggerKind.APP if name.endswith("Trigger") else None


def kind_of(node_type: str, *, is_helper: bool) -> NodeKind:
    """What a node of this type does; `is_helper`: it only serves an agent or a chain."""
    if trigger_of(node_type):
        return NodeKind.TRIGGER
    if is_helper:
        return NodeKind.HELPER
    return _KINDS.get(short(node_type), NodeKind.ACTION)


def sends(node_type: str, kind: NodeKind) -> bool:
    """Whether a node of this type itself talks to another system over a network."""
    name = short(node_type)
    if kind in (NodeKind.TRIGGER, NodeKind.HELPER, NodeKind.NOTE) or not name or name in _LOCAL:
        return False
    return name in _SENDING_LANGCHAIN if node_type.startswith(LANGCHAIN) else True


def has_effect(node_type: str, parameters: Mapping[str, Any], *, is_sending: bool) -> bool:
    """Whether a node changes something outside of its workflow, as far as its type says."""
    name = short(node_type)
    if name in _WRITING_FILES:
        return True
    if not is_sending or name in _READING_TYPES or node_type.startswith(LANGCHAIN):
        return False
    if name == "httpRequest":
        method = parameters.get("method") or parameters.get("requestMethod") or "GET"
        is_question = _MODELS.search(str(parameters.get("url", ""))) is not None
        return str(method).upper() not in ("GET", "HEAD", "OPTIONS") and not is_question
    operation = parameters.get("operation")
    if not isinstance(operation, str) or not operation:
        return name not in _READING_BY_DEFAULT
    if operation == "executeQuery":
        return not _is_select(parameters.get("query"))
    return _READING.match(operation) is None


def _is_select(query: Any) -> bool:
    return isinstance(query, str) and query.lstrip("= \n\t").lower().startswith(("select", "show"))
