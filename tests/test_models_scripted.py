"""The doubles that tests stand on, the switch against real requests, and names of models."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from surefoot.models import Question, ReplayModel, Reply, ScriptedModel, forbid_requests, load
from surefoot.models.api.model import ApiModel
from surefoot.models.question import ChatMessage, Model, ToolRequest
from surefoot.models.scripted import call
from surefoot.storage.errors import ModelUnavailable, RequestsForbidden, SetupError
from surefoot.storage.records import Usage

pytestmark = pytest.mark.anyio

GO = Question("act", "go")


async def test_lines_are_said_in_order_whatever_their_kind() -> None:
    whole = Reply("as it is", (), finish_reason="length")
    model = ScriptedModel(["text", {"a": 1}, [1, 2], 3, whole, call("add", {"a": 1}), [call("x", {}), call("y", {})]])
    replies = [(await model.ask(GO))[0] for _ in range(7)]
    assert [reply.text for reply in replies] == ["text", '{"a": 1}', "[1, 2]", "3", "as it is", "", ""]
    assert [len(reply.tool_calls) for reply in replies] == [0, 0, 0, 0, 0, 1, 2]
    assert replies[4].finish_reason == "length" and replies[5].finish_reason == "tool_calls"
    assert all(reply.prompt[-1].content == "go" for reply in replies)
    assert model.questions == [GO] * 7
    model.assert_done()


async def test_samples_take_one_line_each() -> None:
    model = ScriptedModel(["a", "b", "c"])
    assert [reply.text for reply in await model.ask(GO, 2)] == ["a", "b"]
    with pytest.raises(AssertionError, match="1 of 3 replies"):
        model.assert_done()


async def test_a_function_sees_the_question_and_the_sample() -> None:
    model = ScriptedModel(lambda question, index: f"{question.goal} {index}")
    assert [reply.text for reply in await model.ask(GO, 2)] == ["go 0", "go 1"]
    model.assert_done()


async def test_a_script_that_ran_out_says_what_was_asked() -> None:
    model = ScriptedModel([])
    with pytest.raises(SetupError, match=r"0 replies and was asked for one more \(role act: 'go'"):
        await model.ask(GO)


async def test_exceptions_are_raised() -> None:
    with pytest.raises(ModelUnavailable, match="down"):
        await ScriptedModel([ModelUnavailable("down")]).ask(GO)


async def test_usage_and_latency_are_what_the_test_says() -> None:
    usage = Usage(samples=1, prompt_tokens=3, completion_tokens=2, usd=0.5)
    model = ScriptedModel(["a", "b"], usage=usage, latency=0.02)
    started = time.perf_counter()
    replies = await model.ask(GO, 2)
    assert time.perf_counter() - started >= 0.02
    assert [reply.usage for reply in replies] == [usage, usage]
    assert model.estimate(GO, 2) == usage + usage


# --- replay -------------------------------------------------------------------------------------------------


async def recorded() -> list[Reply]:
    model = ScriptedModel(["one", "two", "three", "four"])
    first, second = await model.ask(GO, 2)
    (third,) = await model.ask(Question("act", "stay"))
    (fourth,) = await model.ask(Question("act", "go", follow_up=(ChatMessage("assistant", "", (call("f", {}),)),)))
    return [first, second, third, fourth]


async def test_a_replay_says_what_was_recorded_for_the_prompt() -> None:
    replay = ReplayModel(await recorded())
    assert (await replay.ask(Question("act", "stay")))[0].text == "three"
    assert [reply.text for reply in await replay.ask(GO, 2)] == ["one", "two"]
    assert replay.left == 1


async def test_a_replay_takes_prompts_beside_replies() -> None:
    prompt = ScriptedModel(["x"])
    (reply,) = await prompt.ask(GO)
    bare = Reply("x", ())
    replay = ReplayModel([(reply.prompt, bare)])
    assert replay.estimate(GO) == bare.usage
    assert await replay.ask(GO) == [bare]


async def test_a_replay_that_diverges_fails_loudly() -> None:
    replay = ReplayModel(await recorded())
    with pytest.raises(SetupError, match=r"diverged.*'elsewhere'"):
        await replay.ask(Question("act", "elsewhere"))
    with pytest.raises(SetupError, match="no reply is left"):
        await replay.ask(GO, 3)
    assert replay.estimate(Question("act", "elsewhere")) == Usage()


async def test_a_replay_in_order_refuses_another_order() -> None:
    replay = ReplayModel(await recorded(), in_order=True)
    await replay.ask(GO)
    with pytest.raises(SetupError, match="another question came next"):
        await replay.ask(Question("act", "stay"))


# --- the switch ---------------------------------------------------------------------------------------------


async def test_forbidden_requests_fail_before_anything_is_sent() -> None:
    model = ApiModel("openai/gpt-4o", base_url="http://127.0.0.1:9/v1")
    with forbid_requests(), forbid_requests():
        with pytest.raises(RequestsForbidden, match="ScriptedModel"):
            await model.ask(GO)
        assert (await ScriptedModel(["x"]).ask(GO))[0].text == "x"
    switch = forbid_requests()
    with pytest.raises(RequestsForbidden):
        await model.ask(GO)
    switch.allow()
    switch.allow()
    with forbid_requests(), pytest.raises(RequestsForbidden):
        await model.ask(GO)


# --- names --------------------------------------------------------------------------------------------------


def test_a_model_is_handed_back_as_it_is() -> None:
    model = ScriptedModel([])
    assert load(model) is model
    with pytest.raises(SetupError, match="options"):
        load(model, temperature=1)
    with pytest.raises(SetupError, match="not 3"):
        load(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("openai/gpt-5.1", "openai/gpt-5.1"),
        ("openai:gpt-5.1", "openai/gpt-5.1"),
        ("ollama/llama3:8b", "ollama/llama3:8b"),
        ("openrouter/meta/llama-3:free", "openrouter/meta/llama-3:free"),
        ("ollama:llama3:8b", "ollama/llama3:8b"),
    ],
)
def test_both_spellings_of_a_provider_are_read(name: str, canonical: str) -> None:
    model = load(name, base_url="http://127.0.0.1:9/v1")
    assert isinstance(model, ApiModel) and isinstance(model, Model)
    assert model.name == canonical == model.policy.model


@pytest.mark.parametrize("name", ["", "gpt-5.1", "openai/", "/gpt", ":x", "  "])
def test_a_name_that_names_nothing_is_explained(name: str) -> None:
    with pytest.raises(SetupError, match="write provider/model"):
        load(name)


def test_a_packaged_model_that_does_not_exist_is_explained() -> None:
    with pytest.raises(SetupError, match="pocket/word-problems"):
        load("pocket/poems")


def test_a_folder_that_does_not_exist_is_explained() -> None:
    with pytest.raises(SetupError, match="there is no folder"):
        load("local/./nothing/here")


@pytest.mark.parametrize(
    "code",
    [
        "import surefoot.models",
        "import surefoot.models as m; m.load('openai/gpt-5.1', api_key='k')",
        "import surefoot.models as m, asyncio; from surefoot.models.answer import answer; "
        "asyncio.run(answer(m.ScriptedModel(['x']), m.Question('act', 'go')))",
    ],
)
def test_importing_and_naming_models_loads_no_heavy_library(code: str) -> None:
    heavy = ("torch", "transformers", "litellm", "openai", "httpx", "numpy")
    code += f"; import sys; print([name for name in {heavy!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]" and told.stderr == ""


def test_a_call_for_scripts_is_whole() -> None:
    assert call("add", {"a": 1}) == ToolRequest("call-1", "add", '{"a": 1}', {"a": 1})
