"""A reverse proxy that counts: what it was asked, what it handed on, and the usage in each reply.

    with Proxy(server.address) as proxy:
        ApiModel("openai/smol", base_url=proxy.url)

It stands where a user would put a server's address. Where the server behind it is away, or goes in the middle of a
reply, the client's connection is broken, as it would be without a proxy.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


@dataclass
class Counts:
    """What went through. A reply counts when the client has been sent all of it."""

    requests: list[Body] = field(default_factory=list)
    replies: list[Body] = field(default_factory=list)
    broken: int = 0
    """Requests that the server did not answer."""
    refused: list[int] = field(default_factory=list)
    """Statuses other than 200."""

    @property
    def prompt_tokens(self) -> int:
        return sum(reply["usage"]["prompt_tokens"] for reply in self.replies)

    @property
    def completion_tokens(self) -> int:
        return sum(reply["usage"]["completion_tokens"] for reply in self.replies)


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.counts = Counts()
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    proxy: Proxy


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read stderr."""

    def do_GET(self) -> None:
        self._forward("GET")

    def do_POST(self) -> None:
        self._forward("POST")

    def _forward(self, method: str) -> None:
        proxy, counts = self.server.proxy, self.server.proxy.counts
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if method == "POST":
            with proxy.lock:
                counts.requests.append(json.loads(sent))
        back = HTTPConnection(proxy.host, proxy.port)
        try:
            back.request(method, self.path, sent or None, {"Content-Type": "application/json"})
            response = back.getresponse()
            body = response.read()
        except (OSError, HTTPException):
            with proxy.lock:
                counts.broken += 1
            self.close_connection = True
            return
        finally:
            back.close()
        try:
            self.send_response(response.status)
            self.send_header("Content-Type", response.headers.get("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the client went away
            self.close_connection = True
            return
        if method == "POST":
            with proxy.lock:
                if response.status == 200:
                    counts.replies.append(json.loads(body))
                else:
                    counts.refused.append(response.status)
