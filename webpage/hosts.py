"""Names by which the page may be asked for: others could be a foreign site's that was pointed at this machine."""

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

LOCAL = ("localhost", "127.0.0.1", "::1")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:/@\s]+)(?::\d{1,5})?")


class Hosts(NamedTuple):
    """Allowed host names, lower case, addresses of IPv6 without brackets."""

    names: frozenset[str]
    addresses: bool  # any numeric address is allowed: none belongs to a foreign site's name
    proxies: frozenset[str] = frozenset()  # names under which other servers may pass requests on

    def allows(self, header: str) -> bool:
        """Whether a Host header, NAME or NAME:PORT, names an allowed host."""
        match = HOST.fullmatch(header.lower())
        name = match[1].strip("[]") if match else ""
        return bool(name) and (name in self.names or (self.addresses and is_address(name)))

    def refusal(self, headers: list[tuple[bytes, bytes]]) -> str | None:
        """Why a request with these headers is refused, in one line; None for an allowed one."""
        hosts = [value.decode("latin-1") for key, value in headers if key == b"host"]
        if len(hosts) != 1 or not self.allows(hosts[0]):
            return "This host name is not allowed; the option --allowed-host allows it."
        origins = [origin_host(value.decode("latin-1")) for key, value in headers if key == b"origin"]
        if not all(origin == hosts[0].lower() or Hosts(self.proxies, False).allows(origin) for origin in origins):
            return "Requests from other sites are not allowed."
        return None


def allowed_hosts(host: str, others: Sequence[str]) -> Hosts:
    """The hosts for a page that listens on an address.

    Args:
        host: address or name to listen on. For all addresses (0.0.0.0, ::), any numeric address and this
            machine's name are allowed, too.
        others: further names.
    """
    host = host.strip("[]").lower()
    everywhere = is_address(host) and ip_address(host).is_unspecified
    proxies = frozenset(name.strip("[]").lower() for name in others)
    names = proxies | {*LOCAL, host}
    return Hosts(frozenset(names | {socket.gethostname().lower()} if everywhere else names), everywhere, proxies)


def in_address(host: str) -> str:
    """A host as it stands in a web address: IPv6 in brackets."""
    return f"[{host.strip('[]')}]" if ":" in host else host


def origin_host(origin: str) -> str:
    """NAME or NAME:PORT of an Origin header; empty if there is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a host is given as a numeric address."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
