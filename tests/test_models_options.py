"""Options of models: set by layer, from Python, the command line, the environment and files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import Response, ScriptedServer, refuse, say
from terminal import Shell

from surefoot.engine import Engine
from surefoot.models import Question, ScriptedModel, load
from surefoot.models.api.model import TOKENS, ApiModel
from surefoot.models.options import OPTIONS, Layer, environment, layer, merge, pairs
from surefoot.storage.errors import SetupError
from surefoot.storage.records import ModelCall

GO = Question("act", "Say hello.")
ROOT = Path(__file__).parent.parent


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


# --- layers ---------------------------------------------------------------------------------------------------


def test_a_role_goes_before_a_model_and_a_model_before_all() -> None:
    said = layer(
        {
            "max_tokens": 1,
            "top_p": 0.1,
            "timeout": 5,
            "models": {"openai/a": {"max_tokens": 2, "top_p": 0.2}},
            "roles": {"plan": {"max_tokens": 3}},
        }
    )
    assert said.options("openai/a", "plan").given == {"max_tokens": 3, "top_p": 0.2, "timeout": 5}
    assert said.options("openai/a", "act").given == {"max_tokens": 2, "top_p": 0.2, "timeout": 5}
    assert said.options("openai/b", "act").given == {"max_tokens": 1, "top_p": 0.1, "timeout": 5}


def test_a_later_layer_goes_before_an_earlier_one_and_mappings_are_put_together_by_key() -> None:
    below = layer({"max_tokens": 1, "headers": {"a": "1", "b": "1"}, "extra_body": {"deep": {"x": 1, "y": 1}}})
    above = layer({"headers": {"b": "2"}, "extra_body": {"deep": {"y": 2}}, "roles": {"plan": {"retries": 0}}})
    assert merge(below, above).options("openai/a", "plan").given == {
        "max_tokens": 1,
        "headers": {"a": "1", "b": "2"},
        "extra_body": {"deep": {"x": 1, "y": 2}},
        "retries": 0,
    }


def test_the_environment_sets_every_option_for_all_and_for_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "MAX_TOKENS": ("70", 70),
        "TEMPERATURE": ("0.5", 0.5),
        "HEADERS": ('{"X-Team": "a"}', {"X-Team": "a"}),
        "EXTRA_BODY": ("{top_k: 3}", {"top_k": 3}),
        "PRICE": ("[1, 2.5]", (1.0, 2.5)),
        "STRUCTURED": ("false", False),
        "API_KEY": ("123", "123"),
    }
    for name, (text, _) in texts.items():
        monkeypatch.setenv(f"SUREFOOT_{name}", text)
        monkeypatch.setenv(f"SUREFOOT_JUDGE_{name}", text)
    monkeypatch.setenv("SUREFOOT_PLAN_MAX_TOKENS", "900")
    found = environment()
    wanted = {name.lower(): value for name, (_, value) in texts.items()}
    assert found.given == wanted and found.roles["judge"].given == wanted
    assert found.options("openai/a", "plan").max_tokens == 900


def test_a_file_holds_what_the_environment_may_say_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("model: openai/a\nmax_tokens: 5\nretries: 1\nroles:\n  plan: {model: openai/b, max_tokens: 9}\n")
    monkeypatch.setenv("SUREFOOT_OPTIONS", str(file))
    monkeypatch.setenv("SUREFOOT_MAX_TOKENS", "6")
    found = environment()
    assert (found.name("act"), found.name("plan")) == ("openai/a", "openai/b")
    assert found.options("openai/a", "act").given == {"max_tokens": 6, "retries": 1}
    assert found.options("openai/b", "plan").max_tokens == 9


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"max_token": 5}, "no option 'max_token'; did you mean 'max_tokens'"),
        ({"roles": {"plan": {"temprature": 1}}}, "no option 'temprature'; did you mean 'temperature'"),
        ({"models": {"openai/a": {"heders": {}}}}, "no option 'heders'; did you mean 'headers'"),
        ({"zzz": 1}, "there are: max_tokens"),
        ({"roles": {"planner": {}}}, "'plan', 'act' or 'judge'"),
        ({"max_tokens": 0}, "max_tokens=0: .* greater than or equal to 1"),
        ({"max_tokens": "many"}, "max_tokens='many': .*integer"),
        ({"price": [1]}, "price"),
        ({"top_p": 1.5}, "less than or equal to 1"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
        (7, "give options by name"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(given: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        layer(given)


def test_a_secret_of_the_wrong_kind_is_not_repeated() -> None:
    with pytest.raises(SetupError) as raised:
        layer({"headers": ["Bearer geheim"]})
    assert "headers" in str(raised.value) and "geheim" not in str(raised.value)


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "a: [", "\x00"])
def test_a_file_that_holds_no_options_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "o.yaml").write_text(text)
    with pytest.raises(SetupError, match=r"o\.yaml"):
        layer(tmp_path / "o.yaml")


def test_a_variable_that_is_nearly_the_name_of_one_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_SOMETHING_ELSE", "1")
    assert environment() == Layer()
    monkeypatch.setenv("SUREFOOT_PLAN_MAX_TOKEN", "1")
    with pytest.raises(SetupError, match="did you mean SUREFOOT_PLAN_MAX_TOKENS"):
        environment()


@pytest.mark.parametrize("pair", ["max_tokens", "=5", "planner.max_tokens=5", "plan.=5"])
def test_a_pair_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(SetupError, match="NAME=VALUE"):
        pairs([pair])


# --- what becomes of them -------------------------------------------------------------------------------------


async def asked(server: ScriptedServer, question: Question = GO, **options: Any) -> dict[str, Any]:
    await ApiModel("openai/test", base_url=server.url, api_key="k", **options).ask(question)
    return dict(server.requests[-1])


@pytest.mark.anyio
async def test_every_option_of_a_request_is_sent() -> None:
    with ScriptedServer(lambda body: say("hello")) as server:
        options = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 77, "headers": {"X-Team": "a"}}
        body = await asked(server, extra_body={"top_k": 3, "chat_template_kwargs": {"a": 1}}, **options)
    assert (body["temperature"], body["top_p"], body["max_tokens"], body["top_k"]) == (0.5, 0.9, 77, 3)
    assert body["chat_template_kwargs"] == {"a": 1}
    assert server.headers[-1]["x-team"] == "a"


@pytest.mark.anyio
async def test_the_effort_of_a_model_that_thinks_is_sent_and_it_is_given_room() -> None:
    with ScriptedServer(lambda body: say("hello")) as server:
        model = ApiModel("openai/gpt-5", base_url=server.url, api_key="k", reasoning_effort="low")
        await model.ask(GO)
    (body,) = server.requests
    assert body["reasoning_effort"] == "low"
    assert body.get("max_completion_tokens", body.get("max_tokens")) == 4 * TOKENS["act"]


@pytest.mark.anyio
@pytest.mark.parametrize("role", ["plan", "act", "judge"])
async def test_the_most_tokens_go_by_the_role_where_nobody_says_how_many(role: Any) -> None:
    with ScriptedServer(lambda body: say("hello")) as server:
        assert (await asked(server, Question(role, "go")))["max_tokens"] == TOKENS[role]
        assert (await asked(server, Question(role, "go"), max_tokens=9))["max_tokens"] == 9
        assert (await asked(server, Question(role, "go", max_tokens=4), max_tokens=9))["max_tokens"] == 4


@pytest.mark.anyio
async def test_an_option_of_another_kind_of_model_is_refused() -> None:
    with pytest.raises(SetupError, match="no option 'device'"):
        ApiModel("openai/test", device="cpu")
    with pytest.raises(SetupError, match=r"no option 'retry'; did you mean 'retries'"):
        load("openai/test", retry=1)


# --- capture --------------------------------------------------------------------------------------------------


def gives(body: dict[str, Any]) -> Response:
    """As vLLM does."""
    ids = {"prompt_ids": [1, 2], "token_ids": [3]} if body.get("return_token_ids") else {}
    return say("hello", **ids, logprobs=[-0.5] if body.get("logprobs") else None)


def only_logprobs(body: dict[str, Any]) -> Response:
    """As llama.cpp does: without ids, log-probabilities are no use, and they make replies large."""
    return say("hello", logprobs=[-0.5] if body.get("logprobs") else None)


def no_ids(body: dict[str, Any]) -> Response:
    if "return_token_ids" in body:
        return refuse(400, "Extra inputs are not permitted: return_token_ids")
    return only_logprobs(body)


def strict(body: dict[str, Any]) -> Response:
    return refuse(422, "unknown parameter") if "logprobs" in body or "return_token_ids" in body else say("hello")


def deaf(body: dict[str, Any]) -> Response:
    return say("hello")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("server", "requests", "ids"),
    [(gives, 2, True), (only_logprobs, 2, False), (no_ids, 3, False), (strict, 3, False), (deaf, 2, False)],
)
async def test_a_server_is_asked_once_whether_it_gives_token_ids(
    server: Callable[[dict[str, Any]], Response], requests: int, ids: bool
) -> None:
    with ScriptedServer(server) as running:
        model = ApiModel("openai/test", base_url=running.url, api_key="k")
        for _ in range(2):
            (reply,) = await model.ask(GO)
            assert reply.usage.samples == 1
    assert (reply.token_ids is not None and reply.logprobs is not None) == ids
    assert len(running.requests) == requests
    last = running.requests[-1]
    assert ("logprobs" in last) == ids and ("return_token_ids" in last) == ids


@pytest.mark.anyio
async def test_capture_can_be_switched_off() -> None:
    with ScriptedServer(gives) as server:
        body = await asked(server, capture=False)
    assert "logprobs" not in body and "return_token_ids" not in body


# --- in an engine ---------------------------------------------------------------------------------------------


def test_each_role_has_its_own_server_and_options(tmp_path: Path) -> None:
    plan = json.dumps({"steps": [{"id": "a", "goal": "Say a.", "needs": []}], "output": {"$ref": "a"}})
    with (
        ScriptedServer(lambda body: say(plan)) as planning,
        ScriptedServer(lambda body: say("a")) as acting,
        Engine(
            "openai/test",
            options={
                "max_tokens": 50,
                "roles": {
                    "plan": {"base_url": planning.url, "max_tokens": 500, "api_key": "k1"},
                    "act": {"base_url": acting.url, "headers": {"X-Role": "act"}, "api_key": "k2"},
                },
            },
            store=tmp_path / "s.db",
            verify=False,
        ) as engine,
    ):
        result = engine.run("Say a.")
    assert result.output == "a", result.reason
    assert {body["max_tokens"] for body in planning.requests} == {500}
    assert {body["max_tokens"] for body in acting.requests} == {50}
    assert acting.headers[0]["x-role"] == "act" and acting.headers[0]["authorization"] == "Bearer k2"
    assert planning.headers[0]["authorization"] == "Bearer k1"


def test_options_are_kept_with_the_run_and_keys_are_not(tmp_path: Path) -> None:
    options = {"max_tokens": 50, "api_key": "sk-geheim", "headers": {"X-Key": "geheim"}, "extra": {"api_key": "geheim"}}
    with (
        ScriptedServer(lambda body: say("a")) as server,
        Engine("openai/test", base_url=server.url, options=options, store=tmp_path / "s.db", verify=False) as engine,
    ):
        config = engine.store.run(engine.run("Say a.").run_id).config
    kept = {"model": "openai/test", "base_url": server.url, "max_tokens": 50}
    assert config["options"] == {"roles": {"plan": kept, "act": kept, "judge": kept}}
    assert "geheim" not in json.dumps(config)


def test_an_option_that_no_model_takes_is_an_error_and_not_dropped(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="pocket: there is no option 'top_p'"):
        Engine("pocket", options={"top_p": 0.5})
    with pytest.raises(SetupError, match="give it to the model itself"):
        Engine(ScriptedModel([]), options={"max_tokens": 5})
    with pytest.raises(SetupError, match="openai/x: there is no option 'device'"):
        Engine("pocket", act_model="openai/x", options={"roles": {"act": {"device": "cpu"}}})
    Engine("pocket", act_model="openai/x", options={"top_p": 0.5, "max_tokens": 9})


def test_samples_with_another_nucleus_are_another_policys() -> None:
    plain, other = ApiModel("openai/test"), ApiModel("openai/test", top_p=0.5)
    assert plain.policy != other.policy
    assert ApiModel("openai/test", max_tokens=5, timeout=9).policy == plain.policy


# --- on the command line --------------------------------------------------------------------------------------


def test_the_command_line_gives_options_and_a_resumed_run_has_them_still(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("top_p: 0.25\nmax_tokens: 60\n")
    with ScriptedServer(lambda body: say("a")) as server:
        told = ("-m", "openai/test", "--base-url", server.url, "--no-verify")
        options = ("--options", str(tmp_path / "models.yaml"), "-o", "plan.max_tokens=70", "-o", 'headers={"X-A": "b"}')
        said = shell("run", "Say a.", *told, *options, "--steps", "1")
        assert said.code == 5, said.err
        first = server.requests[-1]
        assert (first["max_tokens"], first["top_p"], server.headers[-1]["x-a"]) == (70, 0.25, "b")
        shell("resume", "last", "--steps", "2", "-o", "temperature=0.125")
        later = server.requests[-1]
    assert later["top_p"] == 0.25 and later["temperature"] == 0.125
    assert "x-a" not in server.headers[-1]


def test_a_run_goes_on_at_an_address_that_was_mended_in_the_environment_and_at_one_that_was_given(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(lambda body: say("a")) as server, ScriptedServer(lambda body: say("a")) as other:
        monkeypatch.setenv("SUREFOOT_MODEL", "openai/test")
        monkeypatch.setenv("SUREFOOT_BASE_URL", "http://127.0.0.1:1/v1")
        assert shell("run", "Say a.", "--no-verify").code == 1
        monkeypatch.setenv("SUREFOOT_BASE_URL", server.url)
        assert shell("resume", "last", "--steps", "5").code == 5 and server.requests
        assert shell("run", "Say a.", "--no-verify", "--steps", "1", "--base-url", other.url).code == 5
        before = len(other.requests)
        assert shell("resume", "last", "--steps", "2").code == 5 and len(other.requests) > before > 0
        assert shell("resume", "last", "--steps", "3", "-m", "openai/another").code == 5
        assert other.requests[-1]["model"] == "another"


@pytest.mark.parametrize("name", ["run", "calibrate", "doctor"])
def test_every_command_that_names_a_model_takes_options(name: str, shell: Shell) -> None:
    more = {"run": ["task"], "calibrate": ["--probe"], "doctor": []}[name]
    said = shell(name, *more, "-m", "openai/test", "-o", "max_token=5")
    assert said.code == 2 and "did you mean 'max_tokens'" in said.err


def test_doctor_says_what_is_set_and_shows_no_key(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_HEADERS", '{"X-Key": "geheim"}')
    monkeypatch.setenv("SUREFOOT_MAX_TOKENS", "70")
    said = shell("doctor", "-m", "openai/test", "--base-url", "http://127.0.0.1:1/v1", "-o", "judge.temperature=1")
    line = next(one for one in said.out.splitlines() if " options " in one)
    assert "max_tokens=70" in line and "headers=(set)" in line and "judge.temperature=1" in line
    assert "geheim" not in said.out + said.err


def test_the_docs_name_every_option() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    assert [name for name in OPTIONS if f"| `{name}` |" not in text] == []


@pytest.mark.anyio
async def test_calls_are_recorded_with_what_was_sent(tmp_path: Path) -> None:
    with (
        ScriptedServer(gives) as server,
        Engine(
            "openai/test", base_url=server.url, options={"top_p": 0.5}, store=tmp_path / "s.db", verify=False
        ) as engine,
    ):
        result = await engine.arun("Say a.")
        calls = [one for one in engine.store.records(result.run_id) if isinstance(one, ModelCall)]
    assert calls and all(one.sampling["top_p"] == 0.5 for one in calls)
