"""Hostile requests to a running page, as in `tests/audit/page_requests.py`. Needs Gradio and Linux."""

import contextlib
import http.client
import socket
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("gradio")
if sys.platform != "linux":
    pytest.skip("uses FIFOs and /proc", allow_module_level=True)

from page_client import running_page
from page_ways import GROUPS, Scene, failures, set_scene, works


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    with running_page("--allowed-host", "matting.example") as page:
        yield set_scene(page, tmp_path_factory.mktemp("elsewhere"))


@pytest.mark.parametrize("group", GROUPS)
def test_every_way_is_refused_in_one_line(scene, group):
    tried, failed = failures(scene, group)
    assert tried > 10
    assert failed == []
    assert works(scene)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:7860", "[::1]:80", "matting.example"])
def test_the_names_of_this_machine_and_those_given_are_answered(scene, host):
    origin = f"http://{host}"
    assert scene.page.request("GET", "/config", Host=host, Origin=origin).status == 200


def test_browsers_are_told_to_load_nothing_from_elsewhere(scene):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", scene.page.port, timeout=30)) as connection:
        connection.request("GET", "/")
        policy = connection.getresponse().headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self' ")
    assert "http" not in policy and "*" not in policy


def test_an_upload_that_breaks_off_leaves_nothing(scene):
    before = sorted(scene.page.uploads.iterdir())
    head = ("POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n"
            "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            '--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n')
    with socket.create_connection(("127.0.0.1", scene.page.port)) as connection:
        connection.sendall(head.encode() + b"a" * 200_000)
        assert works(scene)  # and the part has been received
    assert works(scene)
    assert sorted(scene.page.uploads.iterdir()) == before
