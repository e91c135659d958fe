"""What everything that samples tokens promises: the suite that each implementation runs."""

from __future__ import annotations

import itertools
import math
import pickle
import random
import sys
from array import array
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import pytest
import tiny
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from surefoot.models.local.decode import Decoder
from surefoot.models.local.foreign import Foreign
from surefoot.models.local.graph import Captured
from surefoot.models.local.model import LocalModel
from surefoot.models.local.sampler import Drawn, Request, TokenSampler
from surefoot.models.local.weights import Weights
from surefoot.models.question import Question

END = 1
"""The token that ends a sample, of all that run here."""


def heated(logprobs: Sequence[float], temperature: float) -> list[float]:
    scaled = [value / temperature for value in logprobs]
    total = math.log(sum(math.exp(value) for value in scaled))
    return [value - total for value in scaled]


class ScriptedTokens:
    """Letters whose odds depend on the last token alone. About one token in sixteen is the end."""

    letters = range(67, 83)

    def logprobs(self, seen: Sequence[int]) -> list[float]:
        """Of every token after those seen, at temperature 1; those that never come have a log-probability of -50."""
        table = [-50.0] * 258
        for letter in self.letters:
            table[letter] = -0.4 * ((letter + seen[-1]) % len(self.letters))
        table[END] = -1.6
        return heated(table, 1.0)

    def __init__(self) -> None:
        self.open: dict[int, Request] = {}
        self.said: dict[tuple[int, int], tuple[array[int], array[float]]] = {}

    def add(self, number: int, request: Request) -> None:
        self.open[number] = request
        self.said |= {(number, index): (array("i"), array("f")) for index in range(request.count)}

    def step(self) -> list[Drawn]:
        ended = []
        for (number, index), (ids, logprobs) in list(self.said.items()):
            request = self.open[number]
            heat, seen = request.temperature, [*request.prompt, *ids]
            odds = heated(self.logprobs(seen), heat if heat > 0 else 1.0)
            chance = random.Random(repr((request.prompt, request.seed, index, len(ids))))
            (id,) = chance.choices(range(len(odds)), [math.exp(value) for value in odds])
            ids.append(id if heat > 0 else odds.index(max(odds)))
            logprobs.append(odds[ids[-1]])
            if ids[-1] == END or len(ids) == request.max_tokens:
                why: Literal["stop", "length"] = "stop" if ids[-1] == END else "length"
                prompt = request.prompt
                told = array("f", [self.logprobs(prompt[:at])[prompt[at]] for at in range(1, len(prompt))])
                cached = len(prompt) if index else 0
                ended.append(Drawn(number, index, ids, logprobs, why, told, cached))
                del self.said[number, index]
        return ended

    def drop(self, numbers: Collection[int]) -> None:
        self.said = {key: value for key, value in self.said.items() if key[0] not in numbers}


@dataclass
class Case:
    sampler: TokenSampler
    logprobs: Callable[[Sequence[int]], Sequence[float]]
    """Of every token after those seen, at temperature 1."""


def unfused(weights: Weights) -> Decoder:
    """By the network's own forward pass, as any that is not Llama-like is."""
    decoder = Decoder(weights)
    decoder._network = Foreign(weights.network)
    return decoder


class Played(Captured):
    """What CUDA graphs do, done by torch's tracer on this device: work is noted once, with everything in it that is no
    tensor as it was then, and played back from there on."""

    captures = True
    played = 0

    def __call__(self, key: Hashable, work: Callable[[], None]) -> None:
        if key != self._key:
            self._key, self._trace = key, None
            work()
        elif self._trace is None:
            self._trace = make_fx(lambda: (work(), torch.zeros(1))[1])()
        else:
            self._trace()
            Played.played += 1


def captured(weights: Weights) -> Decoder:
    """As on a GPU, as far as that can be without one."""
    decoder = Decoder(weights)
    decoder._captured = Played(torch.device("cpu"))
    decoder._captured.captures = decoder._network._captured = True
    return decoder


@pytest.fixture(scope="module", params=["decoder", "captured", "unfused", "worker", "scripted"])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    if request.param == "scripted":
        scripted = ScriptedTokens()
        yield Case(scripted, scripted.logprobs)
        return
    weights = tiny.weights(end_bias=2.0)

    def logprobs(seen: Sequence[int]) -> list[float]:
        with torch.inference_mode():
            logits = weights.network(torch.tensor([list(seen)])).logits[0, -1]
        return list(torch.log_softmax(logits.double(), dim=-1).tolist())

    if request.param == "worker":
        if sys.platform == "win32":
            pytest.skip("no Unix sockets")
        from surefoot.models.local.remote import WorkerSampler
        from surefoot.models.local.wire import Wanted

        weights = tiny.weights(end_scale=3.0)
        folder = tmp_path_factory.mktemp("weights")
        weights.network.save_pretrained(folder)
        weights.tokenizer.save_pretrained(folder)
        sampler = WorkerSampler(Wanted(str(folder), "cpu", None, 64, True, 1))
        yield Case(sampler, logprobs)
        sampler.close()
        return
    before = Played.played
    yield Case({"decoder": Decoder, "captured": captured, "unfused": unfused}[request.param](weights), logprobs)
    assert (Played.played > before) == (request.param == "captured")


PROMPT = array("i", [70, 71, 72, 73])
OTHER = array("i", [75, 76])
_numbers = itertools.count()


def through(sampler: TokenSampler, asked: Sequence[Request]) -> Iterator[list[tuple[int, Drawn]]]:
    """What each step gives, with the place of each sample's request, until all have ended or were dropped."""
    numbers = {next(_numbers): place for place in range(len(asked))}
    for number, place in numbers.items():
        sampler.add(number, asked[place])
    left = sum(one.count for one in asked)
    while left:
        ended = [(numbers[one.request], one) for one in sampler.step()]
        left -= len(ended)
        yield ended


def sampled(sampler: TokenSampler, *asked: Request) -> list[Drawn]:
    """In the order of the requests and their indexes."""
    drawn = [one for ended in through(sampler, asked) for one in ended]
    wanted = [(place, index) for place, one in enumerate(asked) for index in range(one.count)]
    assert sorted((place, one.index) for place, one in drawn) == wanted, "every sample ends, and once"
    return [one for _, one in sorted(drawn, key=lambda pair: (pair[0], pair[1].index))]


def many(count: int, seed: int = 5, prompt: array[int] = PROMPT, tokens: int = 24, heat: float = 1.0) -> Request:
    return Request(prompt, seed, count, tokens, heat)


def words(drawn: Sequence[Drawn]) -> list[tuple[int, ...]]:
    return [tuple(one.ids) for one in drawn]


def test_a_sample_has_ids_and_as_many_logprobs(case: Case) -> None:
    for one in sampled(case.sampler, many(16)):
        assert one.ids.typecode == "i" and one.logprobs.typecode == "f"
        assert 1 <= len(one.ids) == len(one.logprobs) <= 24
        assert all(value <= 0 for value in one.logprobs)


def test_it_stops_at_an_end_token_or_is_cut_off_at_its_limit(case: Case) -> None:
    drawn = sampled(case.sampler, many(64))
    for one in drawn:
        assert (one.finish_reason == "stop") == (one.ids[-1] == END)
        assert END not in one.ids[:-1] and (one.finish_reason == "stop" or len(one.ids) == 24)
    assert {one.finish_reason for one in drawn} == {"stop", "length"}


def test_limits_differ_within_a_batch_and_a_larger_one_only_goes_on(case: Case) -> None:
    long = words(sampled(case.sampler, many(6)))
    short = sampled(case.sampler, *(many(6, tokens=1 + place) for place in range(6)))
    for place in range(6):
        cut = [ids[: 1 + place] for ids in long]
        assert words(short[6 * place : 6 * place + 6]) == cut


def test_a_seed_gives_the_same_samples_again(case: Case) -> None:
    first = sampled(case.sampler, many(6))
    again = sampled(case.sampler, many(6))
    assert words(first) == words(again)
    for one, other in zip(first, again, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-4)


def test_indexes_seeds_and_prompts_tell_samples_apart(case: Case) -> None:
    asked = [many(4, seed, prompt) for prompt in (PROMPT, OTHER) for seed in (5, 6)]
    assert len(set(words(sampled(case.sampler, *asked)))) == 16
    chances = [many(40, 5, prompt, 1, 50.0) for prompt in (PROMPT, OTHER)]
    first = words(sampled(case.sampler, *chances))
    assert sum(one == other for one, other in zip(first[:40], first[40:], strict=True)) < 20


def test_what_is_drawn_beside_it_changes_nothing(case: Case) -> None:
    alone = sampled(case.sampler, many(2, heat=0.7))
    longer = array("i", range(66, 90))
    crowd = [
        many(1 + place % 3, 100 + place, (OTHER, longer)[place % 2], 1 + place, 0.1 * place) for place in range(20)
    ]
    beside = sampled(case.sampler, *crowd, many(2, heat=0.7))[-2:]
    assert words(beside) == words(alone)
    for one, other in zip(alone, beside, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-4)


def test_samples_that_join_others_are_the_same_and_change_none(case: Case) -> None:
    longer = array("i", range(66, 120))
    asked = [many(3, 40 + place, (PROMPT, OTHER, longer)[place % 3], 24 + 8 * (place % 4)) for place in range(7)]
    alone = [words(sampled(case.sampler, one)) for one in asked]
    numbers = {next(_numbers): place for place in range(len(asked))}
    found: list[dict[int, tuple[int, ...]]] = [{} for _ in asked]
    waiting = list(numbers)
    while waiting or any(len(found[place]) < asked[place].count for place in numbers.values()):
        if waiting:
            case.sampler.add(waiting[0], asked[numbers[waiting.pop(0)]])
        for one in case.sampler.step():
            found[numbers[one.request]][one.index] = tuple(one.ids)
    assert [[said[index] for index in sorted(said)] for said in found] == alone


def test_a_long_prompt_that_ends_at_once_leaves_room_for_those_read_beside_it(case: Case) -> None:
    long = array("i", [66 + place % 20 for place in range(140)])
    asked = [many(2, 3, long, 1), *(many(2, 4 + place, (PROMPT, OTHER)[place % 2]) for place in range(6))]
    together = words(sampled(case.sampler, *asked))
    assert together == [ids for one in asked for ids in words(sampled(case.sampler, one))]


def test_prompts_that_begin_alike_are_sampled_as_if_they_stood_alone(case: Case) -> None:
    start = array("i", [66 + place % 20 for place in range(90)])
    asked = [many(2, place, start + array("i", [70] * (place % 5) + [71]), 8) for place in range(16)]
    together = sampled(case.sampler, *asked)
    alone = [one for each in asked for one in sampled(case.sampler, each)]
    assert words(together) == words(alone)
    for one, other in zip(together, alone, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-4)
        if one.prompt_logprobs is not None and other.prompt_logprobs is not None:
            assert list(one.prompt_logprobs) == pytest.approx(list(other.prompt_logprobs), abs=1e-3)
    assert all(0 <= one.cached <= len(asked[place // 2].prompt) for place, one in enumerate(together))


def test_more_samples_than_it_has_rows_are_all_drawn(case: Case) -> None:
    many_of_them = words(sampled(case.sampler, *(many(30, seed) for seed in range(40, 50))))
    assert many_of_them[60:90] == words(sampled(case.sampler, many(30, 42)))


@pytest.mark.parametrize("heat", [1.0, 0.5, 0.0])
def test_logprobs_are_those_of_the_ids_at_the_temperature_that_sampled(case: Case, heat: float) -> None:
    for one in sampled(case.sampler, many(3, heat=heat)):
        for at, id in enumerate(one.ids):
            odds = heated(case.logprobs([*PROMPT, *one.ids[:at]]), heat or 1.0)
            assert one.logprobs[at] == pytest.approx(odds[id], abs=1e-4)


def test_temperature_zero_takes_the_likeliest_whatever_the_seed(case: Case) -> None:
    one, *others = sampled(case.sampler, many(2, 1, tokens=6, heat=0.0), many(2, 2, tokens=6, heat=0.0))
    assert words(others) == [tuple(one.ids)] * 3
    for at, id in enumerate(one.ids):
        odds = list(case.logprobs([*PROMPT, *one.ids[:at]]))
        assert odds.index(max(odds)) == id


def test_a_prompt_has_logprobs_from_its_second_token_on_or_none(case: Case) -> None:
    prompts = (PROMPT, OTHER, OTHER[:1])
    drawn = sampled(case.sampler, *(many(1, 1, prompt, 2, 0.5) for prompt in prompts))
    for prompt, one in zip(prompts, drawn, strict=True):
        if one.prompt_logprobs is not None:
            assert one.prompt_logprobs.typecode == "f"
            told = [case.logprobs(prompt[:at])[prompt[at]] for at in range(1, len(prompt))]
            assert list(one.prompt_logprobs) == pytest.approx(told, abs=1e-4)


@pytest.mark.parametrize("wrong", [(array("i"), 1, 1, 4), (PROMPT, 1, 0, 4), (PROMPT, 1, 1, 0)])
def test_a_request_for_nothing_is_refused(wrong: tuple[array[int], int, int, int]) -> None:
    with pytest.raises(ValueError, match="samples of"):
        Request(*wrong)


def test_whoever_waits_can_speak_before_a_long_sample_ends(case: Case) -> None:
    numbers = next(_numbers), next(_numbers)
    case.sampler.add(numbers[0], many(64, tokens=200))
    case.sampler.step()
    case.sampler.add(numbers[1], many(1, tokens=1))
    while not any(one.request == numbers[1] for one in case.sampler.step()):
        pass
    case.sampler.drop(numbers)


def test_samples_that_are_dropped_end_nothing_else(case: Case) -> None:
    asked = [many(1, seed) for seed in range(64)]
    whole = words(sampled(case.sampler, *asked))
    numbers = {next(_numbers): place for place in range(64)}
    for number, place in numbers.items():
        case.sampler.add(number, asked[place])
    kept = {number for number, place in numbers.items() if place % 8 == 0}
    early = case.sampler.step()
    case.sampler.drop(numbers.keys() - kept)
    late: list[Drawn] = []
    while len({one.request for one in (*early, *late)} & kept) < len(kept):
        late += case.sampler.step()
    assert {one.request for one in late} <= kept
    assert all(tuple(one.ids) == whole[numbers[one.request]] for one in (*early, *late))
    assert len(sampled(case.sampler, many(64))) == 64, "it holds for those requests alone"


def test_where_nothing_is_left_it_comes_back_at_once(case: Case) -> None:
    number = next(_numbers)
    case.sampler.add(number, many(64, tokens=4000))
    case.sampler.step()
    case.sampler.drop([number, next(_numbers)])
    assert case.sampler.step() == [] == case.sampler.step()
    assert sampled(case.sampler, many(2))


def test_what_goes_in_and_comes_out_is_plain_data(case: Case) -> None:
    asked = many(2)
    assert pickle.loads(pickle.dumps(asked)) == asked
    drawn = sampled(case.sampler, many(2))
    assert pickle.loads(pickle.dumps(drawn)) == drawn


# --- a model whose tokens come from elsewhere ---------------------------------------------------------------


@pytest.mark.anyio
async def test_a_model_speaks_through_any_sampler() -> None:
    weights = tiny.weights()
    weights.network.model.embed_tokens.register_forward_pre_hook(lambda *_: pytest.fail("the network was asked"))
    model = LocalModel(weights, sampler=ScriptedTokens(), max_tokens=24)
    question = Question("act", "go", seed=3)
    replies = await model.ask(question, 8)
    prompt = replies[0].prompt_ids
    assert prompt is not None and model.prompt_tokens == len(prompt)
    for reply, one in zip(replies, sampled(ScriptedTokens(), many(8, 3, prompt)), strict=True):
        assert reply.token_ids == one.ids and reply.logprobs == one.logprobs
        assert reply.prompt_logprobs == one.prompt_logprobs and reply.finish_reason == one.finish_reason
        assert reply.text == weights.tokenizer.decode([id for id in one.ids if id != END])
    assert [reply.usage.cached_tokens for reply in replies] == [0] + [len(prompt)] * 7
    assert model.estimate(question).prompt_tokens == len(prompt)
