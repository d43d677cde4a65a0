"""What a definition's scrubber takes for a secret, for a doubtful one, and for none."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.definition_secrets import MARK, scrub_definition
from tests.monitoring.definition_files import workflows

RANDOM = "k3Jx9Qm2Vw7Rt5Zb"


def scrubbed(parameters: Any) -> Any:
    document = {"nodes": [{"name": "N", "parameters": parameters}]}
    return scrub_definition(document, depth=64)["nodes"][0]["parameters"]


def kinds(parameters: Any) -> list[str]:
    return MARK.findall(str(scrubbed(parameters)))


@pytest.mark.parametrize(
    ("parameters", "kind"),
    [
        ({"apiKey": RANDOM}, "secret"),
        ({"password": "hunter2"}, "password"),
        ({"headers": [{"name": "X-Api-Key", "value": RANDOM}]}, "secret"),
        ({"headers": [{"name": "Authorization", "value": f"Bearer {RANDOM}"}]}, "bearer"),
        ({"url": f"https://api.example.org/v1?api_key={RANDOM}&x=1"}, "secret"),
        ({"url": f"=https://api.example.org/{{{{ $json.id }}}}?token={RANDOM}"}, "secret"),
        ({"url": "postgres://app:s3cr3tpw@db.internal/x"}, "url-password"),
        ({"jsCode": f'const apiKey = "{RANDOM}";'}, "secret"),
        ({"jsCode": 'const password = "correct horse"'}, "password"),
        ({"text": "AKIAIOSFODNN7ABCDEFG"}, "aws-key"),
        ({"text": "ghp_abcdefghijklmnopqrstuvwxyz0123456789"}, "github-token"),
        ({"token": {"__rl": True, "mode": "id", "value": RANDOM}}, "secret"),
        ({"text": "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq" * 6}, "private-key"),
        ({"token": "some words"}, "possible-secret"),
        ({"pin": 482913}, "possible-secret"),
    ],
)  # fmt: skip
def test_secrets_become_typed_marks(parameters: Any, kind: str) -> None:
    found = scrubbed(parameters)
    assert kinds(parameters) == [kind]
    assert RANDOM not in str(found)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    "parameters",
    [
        {"token": "={{ $json.token }}"},
        {"apiKey": "=Bearer {{ $env.API_KEY }}"},
        {"password": "YOUR_PASSWORD"},
        {"apiKey": "<TOKEN>"},
        {"token": "xxxxxxxxxxxxxxxx"},
        {"apiKey": "sk_test_4eC39HqLyjWDarjtT1zdp7dc"},
        {"text": "AKIAIOSFODNN7EXAMPLE"},
        {"jsCode": "const token = $json.token; const apiKey = process.env.API_KEY;"},
        {"jsCode": "const password = getPassword(user); let secret = items[0].json.secret"},
        {"text": "You need a basic understanding of authentication."},
        {"text": "-----BEGIN PRIVATE KEY-----\nYOUR KEY\n-----END PRIVATE KEY-----"},
        {"headerParameters": {"parameters": [{"name": "Authorization", "value": "<TOKEN>"}]}},
        {"options": {"maxTokens": 4096}},
        {"authentication": "genericCredentialType", "genericAuthType": "httpHeaderAuth"},
    ],
)
def test_expressions_placeholders_and_samples_stay(parameters: Any) -> None:
    assert scrubbed(parameters) == parameters


def test_names_of_nodes_and_references_to_credentials_stay() -> None:
    document = {
        "nodes": [
            {
                "name": "Get token",
                "credentials": {"slackApi": {"id": "7", "name": "Slack token"}},
            }
        ],
        "connections": {"Get token": {"main": [[{"node": "Refresh password", "index": 0}]]}},
    }
    assert scrub_definition(document, depth=64) == document


def test_equal_secrets_have_equal_marks() -> None:
    one, two = scrubbed([{"apiKey": RANDOM}, {"apiKey": RANDOM}])
    assert one == two


def test_pinned_items_are_scrubbed() -> None:
    document = {"nodes": [], "pinData": {"N": [{"json": {"apiKey": RANDOM}}]}}
    assert RANDOM not in str(scrub_definition(document, depth=64))


@pytest.mark.parametrize(("name", "document"), workflows())
def test_real_workflows_keep_the_names_of_their_nodes(name: str, document: dict[str, Any]) -> None:
    clean = scrub_definition(document, depth=64)
    assert [node["name"] for node in clean["nodes"]] == [node["name"] for node in document["nodes"]]
    assert clean.get("connections") == document.get("connections")
