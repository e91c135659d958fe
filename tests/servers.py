"""A scripted chat completions server on a real socket, with the faults that real providers show.

    with ScriptedServer([say("hello"), limited(0.01), say("again")]) as server:
        ApiModel("openai/test", base_url=server.url)

Every request's body is kept in `requests`, its headers in `headers`.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

Body = dict[str, Any]

USAGE: Mapping[str, Any] = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


@dataclass(frozen=True)
class Response:
    """What the server does with one request."""

    body: Any = None
    """A JSON value, or bytes sent as they are."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    does: Literal["answer", "reset", "stall"] = "answer"
    delay: float = 0.0
    """Seconds before the answer."""


Line = Response | str | Body
"""Text is said; a dictionary is said as JSON text."""
Script = Sequence[Line] | Callable[[Body], Line]


class ScriptedServer:
    """Speaks `/v1/chat/completions` from a script: a list, or a function of the request's body.

    The function runs in the thread of its request. An unexpected request gets status 400 and stands in
    `unexpected`.
    """

    def __init__(self, script: Script = lambda body: "ok", path: str = "/v1/chat/completions") -> None:
        """`path` begins what requests may be sent to: that of another kind of API, where it is to be one."""
        self.script = script
        self.path = path
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.unexpected: list[Body] = []
        self.peak = 0
        """The most requests that were open at once."""
        self.open = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.scripted = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        with self.lock:
            for connection in self.connections:
                _quietly(lambda c=connection: c.shutdown(socket.SHUT_RDWR))  # type: ignore[misc]
        self._server.server_close()

    def next(self, body: Body, headers: Mapping[str, str]) -> Response:
        with self.lock:
            self.requests.append(body)
            self.headers.append({key.lower(): value for key, value in headers.items()})
            position = len(self.requests) - 1
            if not callable(self.script):
                if position < len(self.script):
                    return _response(self.script[position])
                self.unexpected.append(body)
                return refuse(400, f"the script has {len(self.script)} responses")
        return _response(self.script(body))


# --- responses ----------------------------------------------------------------------------------------------


def say(
    text: str | None,
    *,
    usage: Mapping[str, Any] | None = USAGE,
    finish_reason: str | None = "stop",
    model: str = "test-model-2026-01-01",
    fingerprint: str | None = "fp_test",
    tool_calls: Sequence[Body] = (),
    message: Mapping[str, Any] | None = None,
    prompt_ids: Sequence[int] | None = None,
    token_ids: Sequence[int] | None = None,
    logprobs: Sequence[float] | None = None,
    delay: float = 0.0,
) -> Response:
    """A reply; None for `usage`, `finish_reason` or `fingerprint` leaves the field out."""
    said: Body = {"role": "assistant", "content": text} | dict(message or {})
    if tool_calls:
        said["tool_calls"] = list(tool_calls)
    choice: Body = {"index": 0, "message": said}
    if finish_reason is not None:
        choice["finish_reason"] = finish_reason
    if logprobs is not None:
        choice["logprobs"] = {
            "content": [{"token": "t", "logprob": value, "bytes": None, "top_logprobs": []} for value in logprobs]
        }
    if token_ids is not None:
        choice["token_ids"] = list(token_ids)
    body: Body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    if usage is not None:
        body["usage"] = dict(usage)
    if fingerprint is not None:
        body["system_fingerprint"] = fingerprint
    if prompt_ids is not None:
        body["prompt_token_ids"] = list(prompt_ids)
    return Response(body, delay=delay)


def calls(*wanted: tuple[str, str, str], text: str | None = None, **options: Any) -> Response:
    """A reply that calls tools: (id, name, arguments as raw text) each. Ids may repeat, text need not be JSON."""
    requested = [
        {"id": id, "type": "function", "function": {"name": name, "arguments": raw}} for id, name, raw in wanted
    ]
    return say(text, tool_calls=requested, **{"finish_reason": "tool_calls"} | options)


def empty(usage: Mapping[str, Any] = USAGE) -> Response:
    """A completion without choices that is billed nevertheless."""
    body = say("half", usage=usage).body
    return Response({**body, "choices": []})


def refuse(status: int, message: str = "no", *, code: str | None = None, **headers: str) -> Response:
    """An HTTP error. A header's `_` becomes `-`."""
    error = {"message": message, "type": "error", "code": code}
    return Response({"error": error}, status, {key.replace("_", "-"): value for key, value in headers.items()})


def limited(retry_after: float | str) -> Response:
    """Status 429 with Retry-After, in seconds or as an HTTP date."""
    return refuse(429, "rate limit reached", code="rate_limit_exceeded", Retry_After=str(retry_after))


def error_in_200(message: str = "upstream failed", code: int | str = 502) -> Response:
    """HTTP 200 whose body is an error, as routers send it."""
    return Response({"error": {"message": message, "code": code}})


def garbage(raw: bytes = b'{"id": "chatcmpl-1", "cho') -> Response:
    return Response(raw)


def reset() -> Response:
    """The connection is reset before a byte of the answer."""
    return Response(does="reset")


def stall() -> Response:
    """No byte comes until the server closes."""
    return Response(does="stall")


def schema_of(body: Body) -> Any:
    """The JSON Schema that a request asks its reply to have; None where it asks for none."""
    return (body.get("response_format") or {}).get("json_schema", {}).get("schema")


def _response(line: Line) -> Response:
    if isinstance(line, Response):
        return line
    return say(line if isinstance(line, str) else json.dumps(line))


# --- the wire -----------------------------------------------------------------------------------------------


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 1024
    scripted: ScriptedServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.server.scripted.lock:
            self.server.scripted.connections.add(self.connection)

    def finish(self) -> None:
        with self.server.scripted.lock:
            self.server.scripted.connections.discard(self.connection)
        _quietly(super().finish)

    def handle(self) -> None:
        _quietly(super().handle)

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read stderr."""

    def do_GET(self) -> None:
        if self.path == "/v1/models":
            self._send(Response({"object": "list", "data": [{"id": "test", "object": "model"}]}))
        else:
            self._send(refuse(404, f"no such page: {self.path}"))

    def do_POST(self) -> None:
        scripted = self.server.scripted
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.startswith(scripted.path):
            self._send(refuse(404, f"no such page: {self.path}"))
            return
        with scripted.lock:
            scripted.open += 1
            scripted.peak = max(scripted.peak, scripted.open)
        try:
            self._act(scripted.next(json.loads(raw), self.headers))
        finally:
            with scripted.lock:
                scripted.open -= 1

    def _act(self, response: Response) -> None:
        if response.does == "stall":
            self.server.scripted.closing.wait()
            self.close_connection = True
        elif response.does == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
        else:
            time.sleep(response.delay)
            self._send(response)

    def _send(self, response: Response) -> None:
        raw = response.body if isinstance(response.body, bytes) else json.dumps(response.body).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


def _quietly(act: Callable[[], object]) -> None:
    """A client that went away is no event for the server."""
    try:
        act()
    except (OSError, ValueError):
        return
