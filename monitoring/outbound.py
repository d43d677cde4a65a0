"""The one way out: HTTP calls to addresses that tenants name.

A name is resolved once, every address that it has is looked at, and the connection goes to one of
those: public ones, and those in `settings.OUTBOUND_ALLOWED_NETWORKS`. No redirect is followed, no
proxy variable is read, the whole call has one deadline, and of the answer only the beginning is read.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from time import monotonic
from typing import Final
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

logger = logging.getLogger(__name__)

DEADLINE_SECONDS: Final = 20.0
MOST_READ: Final = 16 * 1024
_LONGEST_URL: Final = 2_000
_PORTS: Final = {"http": 80, "https": 443}
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BadAddressError(ValueError):
    """An address that may not be called, with the reason for people."""


class CallFailedError(Exception):
    """No answer came. `reached`: the request went out, so the receiver may have acted on it."""

    def __init__(self, said: str, *, reached: bool = False) -> None:
        super().__init__(said)
        self.reached = reached


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said; `body` is its beginning, as sent (nothing is unpacked)."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def checked_url(text: str) -> SplitResult:
    """The parts of an address that could be called. Raises BadAddressError."""
    if len(text) > _LONGEST_URL:
        raise BadAddressError(f"An address may have {_LONGEST_URL:,} characters.")
    if not text.isascii() or any(c <= " " or c in '\\<>"`{}|^\x7f' for c in text):
        raise BadAddressError("An address has no spaces, backslashes or characters beyond ASCII.")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadAddressError("This is no address.") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise BadAddressError("An address begins with https:// (or http://) and names a host.")
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise BadAddressError("An address holds no user name or password.")
    if port == 0:
        raise BadAddressError("Port 0 can't be called.")
    return parts


def is_allowed(address: _Address) -> bool:
    """Whether calls may go to an IP address: public, or allowed by the operator."""
    address = _plain(address)
    allowed = settings.OUTBOUND_ALLOWED_NETWORKS
    if any(address.version == network.version and address in network for network in allowed):
        return True
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner)
    return address.is_global and not (
        address.is_multicast
        or address.is_reserved
        or address.is_unspecified
        or any(address.version == network.version and address in network for network in _INNER)
    )


def _plain(address: _Address) -> _Address:
    """An IPv4 address that is written as IPv6, as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


_INNER: Final = (
    ipaddress.IPv4Network("192.88.99.0/24"),  # relays of 6to4
    ipaddress.IPv6Network("fec0::/10"),  # site-local
    ipaddress.IPv6Network("3fff::/20"),  # documentation
)
"""What Python takes for public and is not."""

_TRANSLATED: Final = (
    ipaddress.IPv6Network("64:ff9b::/96"),
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("::/96"),
)


def _embedded(address: _Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that gateways (6to4, Teredo, NAT64, compatible) would go on to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _TRANSLATED):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def resolve(host: str, port: int, seconds: float) -> list[tuple[socket.AddressFamily, str]]:
    """The addresses of a host, all of them allowed. Raises BadAddressError, CallFailedError."""
    found = _look_up(host, port, seconds)
    for _, text in found:
        if not is_allowed(ipaddress.ip_address(text.partition("%")[0])):
            # Who named the host may not learn what it is called inside.
            logger.warning("call refused", extra={"host": host, "address": text})
            raise BadAddressError(
                f"{host} is not a public address; the operator can allow networks by "
                "OUTBOUND_ALLOWED_NETWORKS."
            )
    return found


_resolvers: Final = ThreadPoolExecutor(4, thread_name_prefix="resolve")


def _look_up(host: str, port: int, seconds: float) -> list[tuple[socket.AddressFamily, str]]:
    """Ask the system's resolver, which has time-outs of its own, for at most so long."""
    asked = _resolvers.submit(socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM)
    try:
        rows = asked.result(timeout=seconds)
    except LateError as error:
        raise CallFailedError(f"The name {host} could not be looked up in time.") from error
    except (OSError, UnicodeError) as error:
        raise CallFailedError(f"The name {host} could not be looked up: {error}.") from error
    return list(dict.fromkeys((row[0], str(row[4][0])) for row in rows))


def call(
    method: str,
    url: str,
    *,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    seconds: float = DEADLINE_SECONDS,
) -> Answer:
    """Call an address and return the beginning of its answer, whatever its status.

    Raises BadAddressError for an address that may not be called, CallFailedError when no answer came
    within `seconds`, from the look-up of the name to the last byte that is read.
    """
    parts = checked_url(url)
    end = monotonic() + seconds
    port = parts.port or _PORTS[parts.scheme]
    addresses = resolve(parts.hostname or "", port, end - monotonic())
    connected = _connect(addresses, port, end)
    with contextlib.closing(connected), _deadline(connected, end):
        answer = _exchange(connected, parts, method, body, headers or {})
    if monotonic() >= end:
        # What was cut looks like an answer that ended there.
        raise CallFailedError(f"No whole answer within {seconds:g} seconds.", reached=True)
    return answer


def _connect(
    addresses: list[tuple[socket.AddressFamily, str]], port: int, end: float
) -> socket.socket:
    said = "it has no address"
    for number, (family, address) in enumerate(addresses):
        # Whoever has several addresses answers at one of them: share what time there is.
        share = (end - monotonic()) / (len(addresses) - number)
        if share <= 0:
            break
        connected = socket.socket(family, socket.SOCK_STREAM)
        connected.settimeout(share)
        try:
            connected.connect((address, port))
        except OSError as error:
            connected.close()
            said = str(error)
        else:
            return connected
    raise CallFailedError(f"No connection: {said}.")


@contextlib.contextmanager
def _deadline(connected: socket.socket, end: float) -> Iterator[None]:
    """Cut the connection at the end: each byte of a dripping answer would begin a time-out anew."""
    # A second handle on the same connection, which TLS doesn't take over.
    handle = connected.dup()

    def cut() -> None:
        with contextlib.suppress(OSError):
            handle.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, end - monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        handle.close()


def _exchange(
    connected: socket.socket,
    parts: SplitResult,
    method: str,
    body: bytes,
    headers: Mapping[str, str],
) -> Answer:
    host = parts.hostname or ""
    client = http.client.HTTPConnection(host, parts.port or _PORTS[parts.scheme])
    reached = False
    try:
        connected.settimeout(None)  # the deadline cuts
        client.sock = (
            ssl.create_default_context().wrap_socket(connected, server_hostname=host)
            if parts.scheme == "https"
            else connected
        )
        target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
        client.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
        for name, value in _headers(parts, body, headers).items():
            client.putheader(name, value)
        reached = True
        client.endheaders(body)
        response = client.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read(MOST_READ))
    except (OSError, http.client.HTTPException, ValueError) as error:
        said = str(error) or type(error).__name__
        raise CallFailedError(f"No whole answer: {said}.", reached=reached) from error
    finally:
        client.close()


def _headers(parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "Host": parts.netloc,
        "User-Agent": "Flowwatch",
        "Accept": "*/*",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
