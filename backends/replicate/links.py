"""Which of the addresses in an answer may be asked, with our token in the request.

A prediction says itself where it is to be read and cancelled. Whoever can forge such an answer, or a model that can
make one, must not be able to send the router anywhere: an address is followed only on a host that is on the list, over
https. Where the service itself is plain http on this machine (an emulator), hosts of this machine may be, too.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import httpx

from backends.errors import ProtocolViolation

_HTTPS_PORT = 443


class AllowedHosts:
    """The list of one backend.

    Args:
        base: the address of the service; its host is always on the list.
        others: `host`, `host:port` or `*.domain`; without a port the one of https is meant.
    """

    def __init__(self, base: httpx.URL, others: Iterable[str]) -> None:
        self._base_host = base.host.lower()
        self._base_port = base.port
        self._is_local = base.scheme == "http" and _is_loopback(self._base_host)
        self._others = frozenset(_split(other) for other in others)

    def checked(self, text: str, what: str) -> httpx.URL:
        """The address, to be asked.

        Raises:
            ProtocolViolation: it is none that may be followed; the message holds the host at most.
        """
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise ProtocolViolation(f"the prediction's {what} is no address") from None
        if url.userinfo or not url.host:
            raise ProtocolViolation(f"the prediction's {what} is not an address of a host")
        host = url.host.lower()
        if url.scheme != "https" and not (url.scheme == "http" and self._is_local and _is_loopback(host)):
            raise ProtocolViolation(f"the prediction's {what} is not https")
        if not (self._is_own(url, host) or self._is_listed(host, url.port)):
            raise ProtocolViolation(f"the prediction's {what} is on {host[:80]!r}, which is not an allowed host")
        return url.copy_with(fragment=None)

    def _is_own(self, url: httpx.URL, host: str) -> bool:
        if host != self._base_host:
            return False
        return self._is_local or url.port in (self._base_port, None)

    def _is_listed(self, host: str, port: int | None) -> bool:
        port = port or _HTTPS_PORT
        if (host, port) in self._others:
            return True
        labels = host.split(".")
        return any((f"*.{'.'.join(labels[start:])}", port) in self._others for start in range(1, len(labels)))


def _split(pattern: str) -> tuple[str, int]:
    host, _, port = pattern.strip().lower().partition(":")
    return host, int(port) if port else _HTTPS_PORT


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
