"""The health check of a Spark worker: that it answers is not enough, its master must know it."""

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from include.setting_groups import PROJECT

OWN = "worker-2-7078"


@pytest.fixture
def pages():
    """Serves JSON by path: `pages["/worker"] = …`, and gives the address under `url`."""
    content = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in content else 404)
            self.end_headers()
            self.wfile.write(json.dumps(content.get(self.path)).encode())

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        content["url"] = f"http://127.0.0.1:{server.server_port}"
        yield content
        server.shutdown()


def check(pages):
    addresses = [f"{pages['url']}/{page}" for page in ("worker", "master")]
    command = [sys.executable, PROJECT / "include/containers/healthy.py", "spark-worker", *addresses]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("known", "healthy"),
    [
        ({OWN: "ALIVE", "worker-1-7078": "ALIVE"}, True),
        ({"worker-1-7078": "ALIVE"}, False),
        ({OWN: "DEAD"}, False),
        ({}, False),
    ],
)
def test_a_worker_that_its_master_does_not_know_is_not_healthy(pages, known, healthy):
    pages["/worker"] = {"id": OWN}
    pages["/master"] = {"workers": [{"id": name, "state": state} for name, state in known.items()]}
    done = check(pages)
    assert (done.returncode == 0) == healthy
    assert healthy or OWN in done.stderr


def test_a_worker_whose_master_is_away_is_not_healthy(pages):
    pages["/worker"] = {"id": OWN}
    assert check(pages).returncode != 0
