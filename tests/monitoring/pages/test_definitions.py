"""Uploading definitions, and a workflow's versions, as a person sees them."""

from __future__ import annotations

import dataclasses
import html
import io
import json
import re
import struct
import zipfile
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from monitoring.definitions import current_version
from monitoring.models import Environment, Workflow, WorkflowVersion
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.definition_files import FILES
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def client(tenant: Tenant) -> Client:
    return signed_in(tenant, Role.OPERATOR)


def signed_in(tenant: Tenant, role: Role) -> Client:
    client = Client()
    client.force_login(make_member(tenant, role))
    return client


def workflow_json(**fields: Any) -> bytes:
    nodes = [{"id": "1", "name": "A", "type": "n8n-nodes-base.set"}]
    return json.dumps(
        {"id": "w1", "name": "Orders", "nodes": nodes, "connections": {}} | fields
    ).encode()


def zipped(files: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def upload(
    client: Client, *files: tuple[str, bytes], environment: Environment | None = None
) -> Any:
    with across_tenants():
        chosen = environment or Environment.objects.get(is_default=True)
    sent = [SimpleUploadedFile(name, content) for name, content in files]
    return client.post("/t/acme/workflows/upload/", {"definitions": sent, "environment": chosen.pk})


def results(answer: Any) -> list[tuple[str, str, str]]:
    """What the page lists; what was refused stands first."""
    assert answer.status_code == 200, answer.content
    return [(row["label"], row["word"], row["reason"]) for row in answer.context["rows"]]


def stored(tenant: Tenant) -> dict[str, int]:
    """External id → number of the current version."""
    with tenant_scope(tenant):
        versions = {each: current_version(each) for each in Workflow.objects.all()}
        return {each.external_id: found.number if found else 0 for each, found in versions.items()}


def test_a_file_becomes_a_version_and_again_none(client: Client, tenant: Tenant) -> None:
    assert results(upload(client, ("o.json", workflow_json()))) == [("o.json", "new version", "")]
    assert results(upload(client, ("o.json", workflow_json()))) == [("o.json", "unchanged", "")]
    changed = upload(client, ("o.json", workflow_json(settings={"timezone": "UTC"})))
    assert results(changed) == [("o.json", "new version", "")]
    assert stored(tenant) == {"w1": 2}
    with across_tenants():
        event = AuditEvent.objects.filter(action="definition.upload").first()
    assert event is not None
    assert event.detail == {"files": ["o.json"], "file_count": 1}


def test_many_files_each_say_what_became_of_them(client: Client, tenant: Tenant) -> None:
    answer = upload(
        client,
        ("a.json", workflow_json(id="a")),
        ("broken.json", b"{"),
        ("not.json", b'{"a": 1}'),
        ("again.json", workflow_json(id="a")),
        ("empty.json", b""),
    )
    found = results(answer)
    assert [word for _, word, _ in found] == ["refused"] * 4 + ["new version"]
    reasons = [reason for _, _, reason in found]
    assert reasons[0].startswith("It is not JSON")
    assert "nodes: must be the list" in reasons[1]
    assert "“a” already" in reasons[2]
    assert stored(tenant) == {"a": 1}
    page = answer.content.decode()
    assert "<b>1</b> new version" in page
    assert "<b>4</b> refused" in page


def test_lists_and_answers_of_the_api_hold_many(client: Client, tenant: Tenant) -> None:
    one, two = json.loads(workflow_json(id="a")), json.loads(workflow_json(id="b"))
    results(upload(client, ("all.json", json.dumps([one, two]).encode())))
    results(upload(client, ("api.json", json.dumps({"data": [two, one | {"id": 7}]}).encode())))
    assert set(stored(tenant)) == {"a", "b", "7"}


def test_without_an_id_the_name_is_it_and_then_the_file(client: Client, tenant: Tenant) -> None:
    upload(
        client,
        ("x.json", workflow_json(id=None)),
        ("dir/other.json", workflow_json(id="", name="")),
    )
    assert set(stored(tenant)) == {"Orders", "other"}


def test_the_environment_is_chosen(client: Client, tenant: Tenant) -> None:
    other = make_environment(tenant)
    upload(client, ("o.json", workflow_json()), environment=other)
    with tenant_scope(tenant):
        assert Workflow.objects.get().environment == other
        assert WorkflowVersion.objects.get().source == "upload"


def test_a_zip_is_unpacked_without_paths(client: Client, tenant: Tenant) -> None:
    content = zipped(
        {
            "flows/a.json": workflow_json(id="a"),
            "../../etc/b.json": workflow_json(id=""),
            "C:\\evil\\c.json": workflow_json(id=None, name=""),
            "readme.txt": b"hello",
            "__MACOSX/._a.json": b"x",
            "flows/.DS_Store": b"x",
        }
    )
    found = results(upload(client, ("all.zip", content)))
    assert [word for _, word, _ in found] == ["refused"] + ["new version"] * 3
    assert found[0][2] == "It is no .json file."
    assert set(stored(tenant)) == {"a", "Orders", "c"}


def _bomb() -> bytes:
    return zipped({"bomb.json": b"[" + b" " * 3_000_000 + b"]"})


def _encrypted() -> bytes:
    content = bytearray(zipped({"a.json": workflow_json()}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def _unknown_packing() -> bytes:
    content = bytearray(zipped({"a.json": workflow_json()}))
    struct.pack_into("<H", content, 8, 99)
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 10, 99)
    return bytes(content)


def _zip64_end() -> bytes:
    """A zip of 5,000 files, with an end that says one and refers to a second end that is true."""
    content = bytearray(zipped({f"{n}.txt": b"" for n in range(5_000)}))
    at = content.rindex(b"PK\x05\x06")
    count, size, offset = struct.unpack_from("<HLL", content, at + 10)
    struct.pack_into("<HHLL", content, at + 8, 1, 1, 50, 0)
    second = struct.pack(
        "<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, offset
    )
    return bytes(
        content[:at] + second + struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1) + content[at:]
    )


def _end_that_lies() -> bytes:
    content = bytearray(zipped({f"{n}.txt": b"" for n in range(2_500)}))
    struct.pack_into("<HH", content, content.rindex(b"PK\x05\x06") + 8, 1, 1)
    return bytes(content)


def test_what_could_only_be_unpacked_whole_is_not_unpacked(
    client: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    packings = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    contents = [zipped({"a.json": b" " * 5_000_000}, packing) for packing in packings]
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was opened"))
    for content in contents:
        [(_, word, said)] = results(upload(client, ("x.zip", content)))
        assert (word, "packed in a way" in said) == ("refused", True)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_zip64_end(), "too many files"),
        (_end_that_lies(), "too many files"),
        (zipped({}), "holds no files"),
        (b"PK\x03\x04 no zip at all", "ends too early"),
        (b"PK", "ends too early"),
        (zipped({"a.json": workflow_json()})[:-30], "ends too early"),
        (zipped({"a.json": workflow_json()})[40:], "ends too early|broken|not JSON"),
        (zipped({f"{n}.txt": b"" for n in range(2_001)}), "too many files"),
        (_bomb(), "far more than a workflow"),
        (_encrypted(), "broken, encrypted"),
        (_unknown_packing(), "packed in a way"),
    ],
    ids=[
        "zip64",
        "lying",
        "empty",
        "none",
        "two-bytes",
        "cut",
        "headless",
        "many",
        "bomb",
        "encrypted",
        "packing",
    ],
)
def test_hostile_zips_are_refused_with_a_reason(
    client: Client, tenant: Tenant, content: bytes, reason: str
) -> None:
    [(_, word, said)] = results(upload(client, ("x.zip", content)))
    assert word == "refused"
    assert re.search(reason, said)
    assert stored(tenant) == {}


def test_a_zip_is_unpacked_up_to_its_budget_refused_files_included(
    client: Client, tenant: Tenant, settings: Any
) -> None:
    settings.LIMITS = dataclasses.replace(settings.LIMITS, body_bytes=150_000, batch_bytes=400_000)
    fill = b" " * 200_000
    files = {f"{number}.json": fill for number in range(4)} | {"z.json": workflow_json()}
    reasons = [reason for _, _, reason in results(upload(client, ("x.zip", zipped(files))))]
    assert [reason.startswith("The zip unpacks") for reason in reasons] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert stored(tenant) == {}


def test_a_file_that_is_too_large_is_refused(client: Client) -> None:
    answer = upload(client, ("big.json", b" " * (5 * 1024 * 1024 + 1)))
    assert results(answer) == [("big.json", "refused", "It is larger than 5 MB.")]


def test_a_thousand_workflows_are_enough_for_one_upload(
    client: Client, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitoring.definition_upload.MOST_WORKFLOWS", 3)
    one = json.loads(workflow_json())
    many = json.dumps([one | {"id": str(number)} for number in range(9)]).encode()
    found = results(upload(client, ("all.json", many)))
    assert [word for _, word, _ in found] == ["refused"] + ["new version"] * 3
    assert len(stored(tenant)) == 3


def test_all_real_files_in_one_zip(client: Client, tenant: Tenant) -> None:
    content = zipped({path.name: path.read_bytes() for path in FILES})
    words = [word for _, word, _ in results(upload(client, ("all.zip", content)))]
    assert (words.count("new version"), words.count("refused")) == (58, 4)
    assert len(stored(tenant)) == 58


def test_no_file_is_said_at_the_field(client: Client) -> None:
    answer = upload(client)
    assert answer.status_code == 422
    assert "definitions" in answer.context["form"].errors


def test_another_tenants_environment_is_refused(client: Client) -> None:
    foreign = make_environment(make_tenant("rival"))
    answer = upload(client, ("o.json", workflow_json()), environment=foreign)
    assert answer.status_code == 422
    with across_tenants():
        assert not WorkflowVersion.objects.exists()


def test_viewers_may_not_upload(tenant: Tenant) -> None:
    viewer = signed_in(tenant, Role.VIEWER)
    assert viewer.get("/t/acme/workflows/upload/").status_code == 403
    assert b"Upload definitions" not in viewer.get("/t/acme/workflows/").content


def test_operators_find_the_way(client: Client) -> None:
    assert b'href="/t/acme/workflows/upload/"' in client.get("/t/acme/workflows/").content
    assert client.get("/t/acme/workflows/upload/").status_code == 200


def test_names_are_shown_as_text(client: Client) -> None:
    answer = upload(client, ("<img src=x>.json", workflow_json(name="<script>alert(1)</script>")))
    page = answer.content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


# --- versions -------------------------------------------------------------------------------------


def versions_page(client: Client, workflow: Workflow) -> str:
    answer = client.get(f"/t/acme/workflows/{workflow.pk}/?tab=versions")
    assert answer.status_code == 200
    return answer.content.decode()


def test_versions_are_listed_newest_first(client: Client, tenant: Tenant) -> None:
    upload(client, ("o.json", workflow_json(active=True)))
    upload(client, ("o.json", workflow_json(active=False, settings={"timezone": "UTC"})))
    with tenant_scope(tenant):
        workflow = Workflow.objects.get()
    page = versions_page(client, workflow)
    assert page.index("Version 2") < page.index("Version 1")
    assert "Upload" in page
    assert page.count("current</span>") == 1


def test_the_command_holds_nothing_that_a_shell_would_run(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        environment = Environment.objects.get()
    workflow = make_workflow(environment, external_id="$(id)`id`'\"!")
    page = html.unescape(versions_page(signed_in(tenant, Role.VIEWER), workflow))
    assert "/api/workflows/%24%28id%29%60id%60%27%22%21/definition?environment_id=" in page


def test_without_a_version_it_says_what_to_do(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        environment = Environment.objects.get()
    workflow = make_workflow(environment, external_id="a/b")
    operator = versions_page(signed_in(tenant, Role.OPERATOR), workflow)
    assert "No definition yet" in operator
    assert "/api/workflows/a/b/definition?environment_id=" in operator.replace("%2F", "/")
    assert "Upload definitions" in operator
    viewer = versions_page(signed_in(tenant, Role.VIEWER), workflow)
    assert "role operator" in viewer
    assert "/workflows/upload/" not in viewer
