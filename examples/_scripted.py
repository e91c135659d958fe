"""A stand-in for a model: speaks the chat completions API over HTTP and says what it is told to.

The examples use it where no model is configured, so that they run without a key and show the same on every machine.
Run by itself, this file answers one request.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Line = str | Mapping[str, Any]
"""Text that the model says, or a call of a tool: `{"tool": name, "arguments": {...}}`."""


def stand_in(lines: Sequence[Line]) -> AbstractContextManager[str | None]:
    """`scripted`, unless SUREFOOT_MODEL names a model to ask (and --scripted was not given): then nothing."""
    real = "SUREFOOT_MODEL" in os.environ and "--scripted" not in sys.argv
    return nullcontext() if real else scripted(lines)


@contextmanager
def scripted(lines: Sequence[Line]) -> Iterator[str]:
    """A server on this machine that says the lines one after another; gives its base URL."""
    left = iter(lines)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(_completion(next(left))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are no news."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _completion(line: Line) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": line}
    if isinstance(line, Mapping):
        function = {"name": line["tool"], "arguments": json.dumps(line["arguments"])}
        message |= {"content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
    reason = "stop" if isinstance(line, str) else "tool_calls"
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
    }


if __name__ == "__main__":
    with scripted(["Hello from a script."]) as url:
        body = b'{"model": "any", "messages": []}'
        ask = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(ask) as response:
            print(json.load(response)["choices"][0]["message"]["content"])
