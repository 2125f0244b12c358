"""Names by which the page may be asked for."""

import socket

import pytest

from webpage.hosts import allowed_hosts, in_address

HERE = ("localhost", "localhost:7860", "LocalHost", "127.0.0.1:1", "[::1]", "[::1]:7860")
FOREIGN = ("site.example", "localhost.site.example", "127.0.0.1.site.example", "", "localhost@site.example", "::1",
           "localhost:x", "localhost:1:2", "[::1", "2130706433", "0x7f000001", "localhost ")


@pytest.mark.parametrize(("host", "others", "allowed", "refused"), [
    ("127.0.0.1", [], (), ("10.0.0.5", "[fe80::1]", socket.gethostname())),
    ("10.0.0.5", [], ("10.0.0.5", "10.0.0.5:7860"), ("10.0.0.6", "0.0.0.0")),
    ("Box.lan", ["Matting.example", "fe80::1"], ("box.LAN:80", "matting.example", "[fe80::1]:80"), ("10.0.0.5",)),
    ("0.0.0.0", ["matting.example"], ("10.0.0.5:7860", "[fe80::1]", "matting.example", socket.gethostname()), ()),
    ("::", [], ("10.0.0.5", "[fe80::1]:7860", socket.gethostname().upper()), ("matting.example",)),
])
def test_hosts_of_this_machine_and_those_given_are_allowed(host, others, allowed, refused):
    hosts = allowed_hosts(host, others)
    assert [name for name in (*HERE, *allowed) if not hosts.allows(name)] == []
    assert [name for name in (*FOREIGN, *refused) if hosts.allows(name)] == []


def test_addresses_of_ipv6_have_brackets():
    assert [in_address(host) for host in ("box", "127.0.0.1", "::", "[::1]")] == ["box", "127.0.0.1", "[::]", "[::1]"]


@pytest.mark.parametrize(("headers", "refused"), [
    ([(b"host", b"localhost:7860")], False),
    ([(b"host", b"localhost:7860"), (b"origin", b"http://localhost:7860")], False),
    ([(b"host", b"localhost"), (b"host", b"localhost")], True),
    ([], True),
    ([(b"host", b"site.example")], True),
    ([(b"host", b"localhost"), (b"origin", b"http://site.example")], True),
    ([(b"host", b"localhost"), (b"origin", b"http://localhost:3000")], True),
    ([(b"host", b"localhost"), (b"origin", b"null")], True),
    ([(b"host", b"localhost"), (b"origin", b"http://[")], True),
])
def test_requests_to_or_from_other_sites_are_refused(headers, refused):
    for host in ("127.0.0.1", "0.0.0.0"):
        assert (allowed_hosts(host, []).refusal(headers) is not None) == refused


@pytest.mark.parametrize(("host", "origin", "refused"), [
    (b"192.168.1.5:7860", b"http://192.168.1.5:7860", False), (b"192.168.1.5:7860", b"http://6.6.6.6", True),
    (b"127.0.0.1:7860", b"https://matting.example", False), (b"127.0.0.1:7860", b"https://other.example", True)])
def test_numeric_addresses_of_other_sites_are_other_sites(host, origin, refused):
    hosts = allowed_hosts("0.0.0.0", ["matting.example"])
    assert (hosts.refusal([(b"host", host), (b"origin", origin)]) is not None) == refused
