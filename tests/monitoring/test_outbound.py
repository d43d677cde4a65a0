"""The one way out: only to allowed addresses, no redirects, one deadline, a bounded answer."""

from __future__ import annotations

import functools
import ipaddress
import socket
import time
from typing import Any

import pytest
from pytest_django import Settings

from monitoring import outbound
from monitoring.outbound import BadAddressError, CallFailedError
from tests.alerts.receivers import (
    answering,
    closing,
    dripping,
    endless,
    hanging,
    receiver,
)

LOCAL = (ipaddress.ip_network("127.0.0.0/8"),)

# Ways to write an address that must not be reached; {port} is that of a listener that counts.
FORBIDDEN = r"""
http://127.0.0.1:{port}/
http://127.1:{port}/
http://127.000.000.001:{port}/
http://2130706433:{port}/
http://0x7f000001:{port}/
http://0x7f.0x0.0x0.0x1:{port}/
http://0177.0.0.1:{port}/
http://017700000001:{port}/
http://0.0.0.0:{port}/
http://0:{port}/
http://127.0.0.2:{port}/
http://127.255.255.254:{port}/
http://localhost:{port}/
http://LOCALHOST:{port}/
http://localhost.:{port}/
http://localhost.localdomain:{port}/
http://ip6-localhost:{port}/
http://[::1]:{port}/
http://[0:0:0:0:0:0:0:1]:{port}/
http://[::]:{port}/
http://[::ffff:127.0.0.1]:{port}/
http://[::ffff:7f00:1]:{port}/
http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/
http://[::127.0.0.1]:{port}/
http://[::7f00:1]:{port}/
http://[64:ff9b::127.0.0.1]:{port}/
http://[64:ff9b::7f00:1]:{port}/
http://[64:ff9b:1::7f00:1]:{port}/
http://[2002:7f00:1::]:{port}/
http://[2002:7f00:0001::1]:{port}/
http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{port}/
http://[fe80::1]:{port}/
http://[fe80::1%25lo]:{port}/
http://[fe80::1%lo]:{port}/
http://[fc00::1]:{port}/
http://[fd12:3456:789a::1]:{port}/
http://[ff02::1]:{port}/
http://[::ffff:169.254.169.254]:{port}/
http://[::ffff:10.0.0.1]:{port}/
http://[2001:db8::1]:{port}/
http://[100::1]:{port}/
http://[fec0::1]:{port}/
http://169.254.169.254/latest/meta-data/
http://169.254.169.254:{port}/
http://2852039166/
http://0xA9FEA9FE/
http://0251.0376.0251.0376/
http://10.0.0.1:{port}/
http://10.255.255.255/
http://172.16.0.1/
http://172.31.255.254/
http://192.168.0.1/
http://192.168.1.1:{port}/
http://100.64.0.1/
http://100.127.255.254/
http://198.18.0.1/
http://192.0.0.1/
http://192.0.2.1/
http://198.51.100.1/
http://203.0.113.1/
http://224.0.0.1/
http://239.255.255.250/
http://240.0.0.1/
http://255.255.255.255/
http://0.1.2.3/
http://192.88.99.1/
http://user@127.0.0.1:{port}/
http://user:pass@127.0.0.1:{port}/
http://example.com@127.0.0.1:{port}/
http://127.0.0.1:{port}@example.com/
http://example.com:80@127.0.0.1:{port}/
http://example.com\@127.0.0.1:{port}/
http://127.0.0.1:{port}\@example.com/
http:\\127.0.0.1:{port}\
http:/127.0.0.1:{port}/
http:127.0.0.1:{port}/
//127.0.0.1:{port}/
127.0.0.1:{port}
http://127.0.0.1:{port}%2f@example.com/
http://127.0.0.1%00.example.com:{port}/
http://127.0.0.1%09:{port}/
http://127。0。0。1:{port}/
http://①②⑦.⓪.⓪.①:{port}/
http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:{port}/
http://127.0.0.1\t:{port}/
http://127.0.0.1 :{port}/
http://127.0.0.1\r\nHost: example.com:{port}/
http://127.0.0.1:{port}/\r\nX: y
http://127.0.0.1\x00.example.com:{port}/
http://[::1]%00:{port}/
http://[::1:{port}/
http://::1:{port}/
http://[127.0.0.1]:{port}/
http://[v1.127.0.0.1]:{port}/
http://127.0.0.1:0/
http://127.0.0.1:99999/
http://127.0.0.1:{port}0000000/
http://127.0.0.1:-1/
http://:{port}/
http:///path
http://
https://
https://127.0.0.1:{port}/
https://localhost:{port}/
https://[::1]:{port}/
ftp://127.0.0.1:{port}/
file:///etc/passwd
gopher://127.0.0.1:{port}/
dict://127.0.0.1:{port}/
ldap://127.0.0.1:{port}/
unix:///var/run/docker.sock
javascript:alert(1)
data:text/plain,hello
jar:http://127.0.0.1:{port}!/
HTTP+UNIX://127.0.0.1:{port}/
netdoc://127.0.0.1:{port}/
about:blank
ws://127.0.0.1:{port}/
http//127.0.0.1:{port}/
httpx://127.0.0.1:{port}/
"""


_ESCAPES = {r"\t": "\t", r"\r": "\r", r"\n": "\n", r"\x00": "\0"}


def addresses(port: int) -> list[str]:
    text = FORBIDDEN.replace("{port}", str(port)).strip("\n")
    return [functools.reduce(_unescaped, _ESCAPES, line) for line in text.split("\n")]


def _unescaped(line: str, escape: str) -> str:
    return line.replace(escape, _ESCAPES[escape])


@pytest.fixture(autouse=True)
def _no_networks(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = ()


@pytest.mark.parametrize("number", range(len(addresses(1))))
def test_nothing_private_is_reached_however_it_is_written(number: int) -> None:
    with receiver(answering(200)) as canary, receiver(answering(200), "::1") as sixth:
        for port in (canary.port, sixth.port):
            url = addresses(port)[number]
            with pytest.raises((BadAddressError, CallFailedError)):
                outbound.call("GET", url, seconds=3)
        assert (canary.connections, sixth.connections) == (0, 0), addresses(canary.port)[number]


def test_a_name_that_is_private_at_the_second_look_is_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = []

    def rebinding(host: str, port: int, *_args: Any) -> list[Any]:
        looks.append(host)
        address = "93.184.216.34" if len(looks) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with receiver(answering(200)) as canary:
        monkeypatch.setattr(socket, "getaddrinfo", rebinding)
        with pytest.raises(CallFailedError):
            outbound.call("GET", f"http://rebind.example:{canary.port}/", seconds=0.3)
        assert (looks, canary.connections) == (["rebind.example"], 0)


@pytest.mark.parametrize(
    "text", ["fec0::1", "feff:ffff::1", "3fff::1", "3fff:fff:ffff::1", "5f00::1", "192.88.99.1"]
)
def test_what_python_takes_for_public_and_is_not(text: str) -> None:
    assert not outbound.is_allowed(ipaddress.ip_address(text))


def test_public_addresses_are_allowed() -> None:
    for text in ("93.184.216.34", "2606:2800:220:1::1", "3ffe::1", "192.88.98.1"):
        assert outbound.is_allowed(ipaddress.ip_address(text)), text


def test_one_private_address_among_public_ones_refuses_the_name(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def mixed(host: str, port: int, *_args: Any) -> list[Any]:
        rows = ("93.184.216.34", "127.0.0.1")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in rows]

    monkeypatch.setattr(socket, "getaddrinfo", mixed)
    with caplog.at_level("WARNING"), pytest.raises(BadAddressError) as refused:
        outbound.call("GET", "http://mixed.example/", seconds=1)
    said = "mixed.example is not a public address"
    assert said in str(refused.value)
    assert "127.0.0.1" not in str(refused.value), "strangers learn no names of the inside"
    assert [vars(each)["address"] for each in caplog.records] == ["127.0.0.1"]


def test_a_resolver_that_hangs_does_not_hold_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_args: Any) -> list[Any]:
        time.sleep(1)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(CallFailedError, match="looked up in time"):
        outbound.call("GET", "http://slow.example/", seconds=0.2)
    assert time.monotonic() - began < 0.8


def test_an_allowed_network_is_reached(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = LOCAL
    with receiver(answering(201, "X-Said: yes")) as local:
        answer = outbound.call("POST", local.url + "?a=b#c", body=b"{}", headers={"X-Mine": "1"})
    assert (answer.status, answer.headers["X-Said"], answer.body) == (201, "yes", b"said")
    [call] = local.calls
    assert call.head.startswith("POST /hook?a=b HTTP/1.1\r\n")
    assert call.headers["host"] == f"127.0.0.1:{local.port}"
    assert call.headers["x-mine"] == "1"
    assert call.body == b"{}"


def test_redirects_and_proxies_of_the_environment_are_not_followed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = (ipaddress.ip_network("127.0.0.1/32"),)
    with receiver(answering(200)) as elsewhere:
        monkeypatch.setenv("http_proxy", elsewhere.url)
        monkeypatch.setenv("ALL_PROXY", elsewhere.url)
        with receiver(answering(301, f"Location: {elsewhere.url}")) as local:
            assert outbound.call("POST", local.url).status == 301
        assert elsewhere.connections == 0


@pytest.mark.parametrize("serve", [hanging, dripping])
def test_one_deadline_holds_for_the_whole_call(settings: Settings, serve: Any) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = LOCAL
    with receiver(serve) as local:
        began = time.monotonic()
        with pytest.raises(CallFailedError) as failed:
            outbound.call("POST", local.url, seconds=0.5)
        assert 0.4 < time.monotonic() - began < 2
        assert failed.value.reached


def test_only_the_beginning_of_an_endless_answer_is_read(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = LOCAL
    with receiver(endless) as local:
        answer = outbound.call("POST", local.url, seconds=5)
    assert len(answer.body) == outbound.MOST_READ


def test_a_closed_connection_and_a_closed_port_are_failures(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = LOCAL
    with receiver(closing) as local, pytest.raises(CallFailedError) as failed:
        outbound.call("POST", local.url)
    assert failed.value.reached
    with pytest.raises(CallFailedError) as failed:
        outbound.call("POST", local.url)
    assert not failed.value.reached


def test_a_certificate_must_be_for_the_name_and_trusted(settings: Settings) -> None:
    settings.OUTBOUND_ALLOWED_NETWORKS = LOCAL
    with receiver(answering(200)) as plain, pytest.raises(CallFailedError):
        outbound.call("POST", plain.url.replace("http:", "https:"), seconds=2)
