"""Servers that echo keys, break off, misreport costs and send text that is no Unicode."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny
from servers import Response, ScriptedServer, empty, error_in_200, garbage, limited, refuse, reset, say

from surefoot.engine import Engine
from surefoot.models import Question
from surefoot.models.api.completion import size
from surefoot.models.api.model import ApiModel
from surefoot.models.encodable import sound, sound_json
from surefoot.models.failures import charged, classify, redacted
from surefoot.models.local.model import LocalModel
from surefoot.models.question import ChatMessage, ToolRequest, ToolSpec
from surefoot.storage.errors import ModelError, ModelRefused, ModelUnavailable, SetupError
from surefoot.storage.records import Plan, Step, Usage, ref
from surefoot.storage.store import Store

pytestmark = pytest.mark.anyio

KEY = "sk-geheim-0123456789"
GO = Question("act", "go")
TOLD = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
HALF = "half \ud83d pair"


def model(server: ScriptedServer, **options: Any) -> ApiModel:
    return ApiModel("openai/test", base_url=server.url, **{"api_key": KEY, "timeout": 10.0, "retries": 0} | options)


async def error(line: Any, **options: Any) -> ModelError:
    with ScriptedServer(lambda body: line) as server, pytest.raises(ModelError) as raised:
        await model(server, **options).ask(GO)
    return raised.value


# --- keys ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
@pytest.mark.parametrize("echo", [f"bad key {KEY}", f"Authorization: Bearer {KEY}", "x" * 490 + KEY])
async def test_a_key_that_the_server_sends_back_is_in_no_error(status: int, echo: str) -> None:
    said = str(await error(refuse(status, echo)))
    assert "geheim" not in said and "sk-" not in said


def test_a_key_that_the_server_sends_back_is_in_no_store(tmp_path: Path) -> None:
    plan = Plan((Step("x", "Say it."),), output=ref("x"))
    with (
        ScriptedServer(lambda body: refuse(401, f"no such key: {KEY}")) as server,
        Store.open(tmp_path / "runs.db") as store,
    ):
        engine = Engine(model(server), planner=plan, store=store, tools=[])
        result = engine.run("hello")
        assert "[redacted]" in result.reason and KEY not in repr(result)
    assert KEY not in "".join(sqlite3.connect(tmp_path / "runs.db").iterdump())


async def test_keys_of_the_environment_and_of_headers_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-outside")
    secret = base64.b64encode(b"user:geheim").decode()
    extra = {"extra_headers": {"X-Gateway": secret}}
    said = str(await error(refuse(401, f"sk-from-outside and {secret}"), api_key=None, extra=extra))
    assert "[redacted] and [redacted]" in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Bearer abc.def", "Bearer [redacted]"),
        ("{'authorization': 'bearer abc'}", "{'authorization': 'bearer [redacted]'}"),
        ("http://me:pass@host/v1", "http://[redacted]@host/v1"),
        ("me:pass@host refused", "[redacted]@host refused"),
        ("token k was taken", "token [redacted] was taken"),
        ("no model at http://host:80/v1", "no model at http://host:80/v1"),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_and_no_more(text: str, told: str) -> None:
    assert redacted(text, ["k", None, "none", " "]) == told


def test_an_address_in_an_error_holds_no_password() -> None:
    known = classify(ConnectionRefusedError(), "openai/test", "http://me:pass@host/v1")
    assert known is not None and "pass" not in str(known) and "host/v1" in str(known)


# --- what failed requests cost ------------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "kind"), [(empty(TOLD), ModelUnavailable), (refuse(401), ModelRefused)])
async def test_an_error_says_what_its_requests_cost(last: Response, kind: type[ModelError]) -> None:
    half = empty(TOLD)
    with ScriptedServer([half, half, last]) as server, pytest.raises(kind) as raised:
        await model(server, retries=2, price=(1.0, 1.0)).ask(GO)
    tries = 3 if kind is ModelUnavailable else 2
    assert charged(raised.value) == Usage(0, tries, 10 * tries, 2 * tries, 0, pytest.approx(12e-6 * tries))


async def test_an_error_of_several_samples_counts_them_all() -> None:
    assert charged(await error(refuse(400))) == Usage() == charged(ValueError())
    half = empty(TOLD)
    with ScriptedServer([half] * 3) as server, pytest.raises(ModelUnavailable) as raised:
        await model(server).ask(GO, 3)
    assert charged(raised.value).tokens == 36


async def test_a_sample_that_failed_beside_others_counts_what_it_cost() -> None:
    with ScriptedServer([empty(TOLD), say("whole", usage=TOLD)]) as server:
        replies = await model(server, concurrency=1).ask(GO, 2)
    assert sorted((reply.error is None, reply.usage.tokens) for reply in replies) == [(False, 12), (True, 12)]


# --- costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [-1.0, "-0.5", "much", "nan", "inf", True, [1], {"usd": 1}])
async def test_a_cost_that_can_be_none_counts_as_not_reported(cost: Any) -> None:
    with ScriptedServer([say("x", usage=TOLD | {"cost": cost})] * 2) as server:
        (reply,) = await model(server).ask(GO)
        (priced,) = await model(server, price=(1.0, 1.0)).ask(GO)
    assert (reply.usage.usd, reply.sampling["cost_source"]) == (0.0, "unknown")
    assert (priced.usage.usd, priced.sampling["cost_source"]) == (pytest.approx(12e-6), "price")


def test_a_cost_as_text_is_read_without_a_word_on_stderr() -> None:
    code = (
        "import asyncio, sys; from surefoot.models import Question, load\n"
        "m = load('openai/test', base_url=sys.argv[1], api_key='k')\n"
        "print(asyncio.run(m.ask(Question('act', 'go')))[0].usage.usd)"
    )
    with ScriptedServer([say("x", usage=TOLD | {"cost": "0.5"})]) as server:
        told = subprocess.run([sys.executable, "-c", code, server.url], capture_output=True, text=True, timeout=60)
    assert (told.stdout, told.stderr) == ("0.5\n", "")


@pytest.mark.parametrize("usage", [{"cost": 0.5}, {"prompt_tokens": -10, "completion_tokens": -2, "cost": 0.5}])
async def test_a_cost_without_usable_tokens_still_counts(usage: Any) -> None:
    with ScriptedServer([say("x", usage=usage)]) as server:
        (reply,) = await model(server).ask(GO)
    assert reply.usage.usd == 0.5 and reply.usage_source == "estimated" and reply.usage.prompt_tokens > 0


async def test_the_estimate_learns_the_highest_cost_that_the_server_reported() -> None:
    costs = iter([0.12, 0.012])
    with ScriptedServer(lambda body: say("x", usage=TOLD | {"cost": next(costs)})) as server:
        asked = model(server)
        assert asked.estimate(GO).usd == 0
        for _ in range(2):
            await asked.ask(GO)
    estimate = asked.estimate(GO, 2)
    assert estimate.usd == pytest.approx(0.01 * estimate.tokens)


# --- text that is no Unicode --------------------------------------------------------------------------------

CALL = ToolRequest(HALF, HALF, json.dumps({"a": HALF}, ensure_ascii=False), {"a": HALF})
ODD = Question(
    "act",
    HALF,
    instructions=HALF,
    inputs={HALF: [HALF]},
    tools=(ToolSpec("add", HALF, {"type": "object", "properties": {HALF: {"type": "string"}}}),),
    follow_up=(ChatMessage("assistant", HALF, (CALL,)), ChatMessage("tool", HALF, tool_call_id=HALF)),
)
PLAIN = Question("act", HALF, output_schema={"type": "object", "properties": {HALF: {"type": "string"}}})


@pytest.mark.parametrize("question", [ODD, PLAIN])
async def test_a_lone_surrogate_is_sent_as_a_mark_and_recorded_as_sent(question: Question) -> None:
    with ScriptedServer([say("{}")]) as server:
        asked = model(server)
        assert asked.estimate(question).prompt_tokens > 0
        (reply,) = await asked.ask(question)
    (body,) = server.requests
    assert [one["content"] for one in body["messages"]] == [one.content for one in reply.prompt]
    assert "half \ufffd pair" in body["messages"][1]["content"] and "\\ud83d" not in json.dumps(body)


def test_a_reply_with_a_lone_surrogate_is_read_by_the_next_step(tmp_path: Path) -> None:
    plan = Plan((Step("a", "Say it.", votes=1), Step("b", "Again.", args={"a": ref("a")}, votes=1)), output=ref("b"))
    with ScriptedServer([say(HALF, usage=None), say("done")]) as server, Store.open(tmp_path / "runs.db") as store:
        engine = Engine(model(server), planner=plan, store=store, tools=[])
        result = engine.run("a task \udcff")
    assert result.output == "done", result.reason
    assert "half \ufffd pair" in server.requests[1]["messages"][1]["content"]


@pytest.mark.parametrize("template", [tiny.TEMPLATE, None])
async def test_local_weights_read_a_mark_for_a_lone_surrogate(template: str | None) -> None:
    asked = LocalModel(tiny.weights(template=template), max_tokens=2)
    question = ODD if template else PLAIN
    assert asked.estimate(question).prompt_tokens > 0
    (reply,) = await asked.ask(question)
    seen = asked._weights.tokenizer.decode(list(reply.prompt_ids or ()))
    assert all(message.content in seen for message in reply.prompt) and "half \ufffd pair" in reply.prompt[1].content


def test_sound_text_is_left_as_it_is() -> None:
    assert sound("plain, ünïcode, 😀") == "plain, ünïcode, 😀" and sound("\udc80\ud800") == "\ufffd\ufffd"
    assert sound_json({"a": [1, None, "\ud800"]}) == {"a": [1, None, "\ufffd"]}
    assert size([ChatMessage("user", "é\ud800")]) == len("é\ufffd".encode())


# --- what went wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (garbage(), "the reply was no JSON"),
        (garbage(b'{"id": "chatcm'), "the reply was no JSON"),
        (garbage(b""), "the reply was no JSON"),
        (reset(), r"the connection to http://127.0.0.1:\d+/v1 broke"),
    ],
)
async def test_an_error_says_what_happened_and_not_what_the_client_made_of_it(line: Response, says: str) -> None:
    known = await error(line)
    assert isinstance(known, ModelUnavailable) and "status 500" not in str(known)
    with pytest.raises(ModelUnavailable, match=says):
        raise known


async def test_a_reply_that_is_cut_off_is_told() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"id"')
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        with pytest.raises(ModelUnavailable, match=f"the connection to {url} broke"):
            await ApiModel("openai/test", base_url=url, api_key=KEY, retries=0).ask(GO)


@pytest.mark.parametrize("line", [refuse(500, "oh"), Response(b"<html>oh</html>", 500), error_in_200("oh", 500)])
async def test_a_status_that_the_server_sent_is_told(line: Response) -> None:
    assert "status 500: " in str(await error(line))


async def test_a_wait_that_is_too_long_is_told() -> None:
    said = str(await error(limited(3600), deadline=30.0, retries=3))
    assert "the server asks to wait 3600 s, more than `deadline` (30 s) leaves" in said
    said = str(await error(limited(0.01), deadline=30.0, retries=1))
    assert "the server asks to wait 1 s (tries: 2)" in said


@pytest.mark.parametrize("asked", ["inf", "nan", "1e999"])
async def test_a_wait_that_is_no_number_is_ignored(asked: str) -> None:
    assert "asks to wait" not in str(await error(limited(asked)))


@pytest.mark.parametrize(
    "url", ["http://me:geheim@host/v1", "https://geheim@host", "me:geheim@host", "ftp://me:geheim@h"]
)
def test_a_password_in_a_base_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SetupError, match="SUREFOOT_API_KEY") as raised:
        ApiModel("openai/test", base_url=url)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://[::1/v1", "http://h:99999/", "/v1"]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SetupError, match="no base URL: write it as in http://"):
        ApiModel("openai/test", base_url=url)


@pytest.mark.parametrize("url", [None, "", "http://[::1]:80/v1", "https://host/accounts/@cf/v1?x=a@b"])
def test_other_base_urls_are_taken(url: str | None) -> None:
    ApiModel("openai/test", base_url=url)
