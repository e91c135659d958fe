"""What everything that samples tokens promises: the suite that each implementation runs."""

from __future__ import annotations

import math
import pickle
import random
from array import array
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, replace

import pytest
import tiny
import torch

from surefoot.models.local.decode import Decoder
from surefoot.models.local.model import LocalModel
from surefoot.models.local.sampler import Draw, Drawn, TokenSampler, check
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

    def sample(self, prompts: Sequence[array[int]], draws: Sequence[Draw]) -> Generator[list[Drawn], None, None]:
        check(prompts, draws)
        self.dropped: set[int] = set()
        said = {at: (array("i"), array("f")) for at in range(len(draws))}
        told = [
            array("f", [self.logprobs(prompt[:at])[prompt[at]] for at in range(1, len(prompt))]) for prompt in prompts
        ]
        while said:
            ended = []
            for at, (ids, logprobs) in list(said.items()):
                draw = draws[at]
                prompt = prompts[draw.prompt]
                odds = heated(self.logprobs([*prompt, *ids]), draw.temperature if draw.temperature > 0 else 1.0)
                chance = random.Random(repr((prompt, draw.seed, draw.index, len(ids))))
                (id,) = chance.choices(range(len(odds)), [math.exp(value) for value in odds])
                ids.append(id if draw.temperature > 0 else odds.index(max(odds)))
                logprobs.append(odds[ids[-1]])
                if ids[-1] == END or len(ids) == draw.max_tokens:
                    why = "stop" if ids[-1] == END else "length"
                    ended.append(Drawn(at, ids, logprobs, why, told[draw.prompt]))
                    del said[at]
            yield ended
            said = {at: so_far for at, so_far in said.items() if at not in self.dropped}

    def drop(self, draws: Collection[int]) -> None:
        self.dropped.update(draws)


@dataclass
class Case:
    sampler: TokenSampler
    logprobs: Callable[[Sequence[int]], Sequence[float]]
    """Of every token after those seen, at temperature 1."""


@pytest.fixture(scope="module", params=["decoder", "scripted"])
def case(request: pytest.FixtureRequest) -> Case:
    if request.param == "scripted":
        scripted = ScriptedTokens()
        return Case(scripted, scripted.logprobs)
    weights = tiny.weights(end_bias=2.0)

    def logprobs(seen: Sequence[int]) -> list[float]:
        with torch.inference_mode():
            logits = weights.network(torch.tensor([list(seen)])).logits[0, -1]
        return list(torch.log_softmax(logits.double(), dim=-1).tolist())

    return Case(Decoder(weights), logprobs)


PROMPT = array("i", [70, 71, 72, 73])
OTHER = array("i", [75, 76])


def sampled(sampler: TokenSampler, draws: Sequence[Draw], *prompts: array[int]) -> list[Drawn]:
    """In the order of the draws."""
    drawn = [one for ended in sampler.sample(prompts or [PROMPT], draws) for one in ended]
    assert sorted(one.draw for one in drawn) == list(range(len(draws))), "every draw ends, and once"
    return sorted(drawn, key=lambda one: one.draw)


def many(count: int, seed: int = 5, **changes: float) -> list[Draw]:
    return [replace(Draw(0, seed, index, 24), **changes) for index in range(count)]  # type: ignore[arg-type]


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
    short = words(sampled(case.sampler, [replace(draw, max_tokens=1 + draw.index) for draw in many(6)]))
    assert short == [ids[: 1 + index] for index, ids in enumerate(long)]


def test_a_seed_gives_the_same_samples_again(case: Case) -> None:
    first = sampled(case.sampler, many(6))
    again = sampled(case.sampler, many(6))
    assert words(first) == words(again)
    for one, other in zip(first, again, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-4)


def test_indexes_seeds_and_prompts_tell_samples_apart(case: Case) -> None:
    draws = [Draw(prompt, seed, index, 24) for prompt in range(2) for seed in (5, 6) for index in range(4)]
    assert len(set(words(sampled(case.sampler, draws, PROMPT, OTHER)))) == len(draws)
    chances = [Draw(prompt, 5, index, 1, 50.0) for index in range(40) for prompt in range(2)]
    first = words(sampled(case.sampler, chances, PROMPT, OTHER))
    assert sum(one == other for one, other in zip(first[::2], first[1::2], strict=True)) < 20


def test_what_is_drawn_beside_it_changes_nothing(case: Case) -> None:
    alone = sampled(case.sampler, many(2, temperature=0.7))
    crowd = [Draw(index % 2, 100 + index, index, 1 + index, 0.1 * index) for index in range(20)]
    beside = sampled(case.sampler, [*crowd, *(replace(draw, prompt=2) for draw in many(2, temperature=0.7))], OTHER,
                     array("i", range(66, 90)), PROMPT)[20:]  # fmt: skip
    assert words(beside) == words(alone)
    for one, other in zip(alone, beside, strict=True):
        assert list(one.logprobs) == pytest.approx(list(other.logprobs), abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_logprobs_are_those_of_the_ids_at_the_temperature_that_sampled(case: Case, temperature: float) -> None:
    for one in sampled(case.sampler, many(3, temperature=temperature)):
        for at, id in enumerate(one.ids):
            odds = heated(case.logprobs([*PROMPT, *one.ids[:at]]), temperature or 1.0)
            assert one.logprobs[at] == pytest.approx(odds[id], abs=1e-4)


def test_temperature_zero_takes_the_likeliest_whatever_the_seed(case: Case) -> None:
    one, *others = sampled(case.sampler, [Draw(0, seed, index, 6, 0.0) for seed in (1, 2) for index in range(2)])
    assert words(others) == [tuple(one.ids)] * 3
    for at, id in enumerate(one.ids):
        odds = list(case.logprobs([*PROMPT, *one.ids[:at]]))
        assert odds.index(max(odds)) == id


def test_a_prompt_has_logprobs_from_its_second_token_on_or_none(case: Case) -> None:
    drawn = sampled(case.sampler, [Draw(0, 1, 0, 2, 0.5), Draw(1, 1, 0, 2), Draw(2, 1, 0, 2)], PROMPT, OTHER, OTHER[:1])
    for prompt, one in zip((PROMPT, OTHER, OTHER[:1]), drawn, strict=True):
        if one.prompt_logprobs is not None:
            assert one.prompt_logprobs.typecode == "f"
            told = [case.logprobs(prompt[:at])[prompt[at]] for at in range(1, len(prompt))]
            assert list(one.prompt_logprobs) == pytest.approx(told, abs=1e-4)


@pytest.mark.parametrize(
    ("prompts", "draws"),
    [
        ([PROMPT], []),
        ([], [Draw(0, 1, 0, 4)]),
        ([array("i")], [Draw(0, 1, 0, 4)]),
        ([PROMPT, array("i")], [Draw(0, 1, 0, 4)]),
        ([PROMPT], [Draw(0, 1, 0, 0)]),
        ([PROMPT], [Draw(0, 1, 0, 4), Draw(1, 1, 0, 4)]),
    ],
)
def test_what_cannot_be_drawn_is_refused(case: Case, prompts: list[array[int]], draws: list[Draw]) -> None:
    with pytest.raises(ValueError):
        next(case.sampler.sample(prompts, draws))
    assert sampled(case.sampler, many(1))


def test_whoever_waits_can_speak_before_a_long_sample_ends(case: Case) -> None:
    longest = max(sampled(case.sampler, many(64)), key=lambda one: len(one.ids)).draw
    items = list(case.sampler.sample([PROMPT], [Draw(0, 5, longest, 24)]))
    assert len(items) > 1 and [len(item) for item in items if item] == [1]


def test_samples_that_are_dropped_end_nothing_else(case: Case) -> None:
    whole = {one.draw: tuple(one.ids) for one in sampled(case.sampler, many(64))}
    kept = {index for index in whole if index % 8 == 0}
    sampling = case.sampler.sample([PROMPT], many(64))
    seen = next(sampling)
    case.sampler.drop(whole.keys() - kept)
    for ended in sampling:
        assert {one.draw for one in ended} <= kept
        seen += ended
    assert kept <= {one.draw for one in seen} and len(seen) < 64
    assert all(tuple(one.ids) == whole[one.draw] for one in seen)
    assert len(sampled(case.sampler, many(64))) == 64, "it holds for one batch"


def test_dropping_all_that_is_left_ends_the_batch(case: Case) -> None:
    sampling = case.sampler.sample([PROMPT], many(64))
    next(sampling)
    case.sampler.drop(range(64))
    assert list(sampling) == []


def test_a_batch_that_is_closed_leaves_it_fit_for_the_next(case: Case) -> None:
    sampling = case.sampler.sample([PROMPT], many(64))
    next(sampling)
    sampling.close()
    assert sampled(case.sampler, many(2))


def test_what_goes_in_and_comes_out_is_plain_data(case: Case) -> None:
    asked = ([PROMPT], many(2))
    assert pickle.loads(pickle.dumps(asked)) == asked
    drawn = sampled(case.sampler, many(2))
    assert pickle.loads(pickle.dumps(drawn)) == drawn


# --- a model whose tokens come from elsewhere ---------------------------------------------------------------


@pytest.mark.anyio
async def test_a_model_speaks_through_any_sampler() -> None:
    weights = tiny.weights()
    weights.network.register_forward_pre_hook(lambda *_: pytest.fail("the network was asked"))
    model = LocalModel(weights, sampler=ScriptedTokens(), max_tokens=24)
    question = Question("act", "go", seed=3)
    replies = await model.ask(question, 8)
    prompt = replies[0].prompt_ids
    assert prompt is not None and model.prompt_tokens == len(prompt)
    for reply, one in zip(replies, sampled(ScriptedTokens(), many(8, seed=3), prompt), strict=True):
        assert reply.token_ids == one.ids and reply.logprobs == one.logprobs
        assert reply.prompt_logprobs == one.prompt_logprobs and reply.finish_reason == one.finish_reason
        assert reply.text == weights.tokenizer.decode([id for id in one.ids if id != END])
    assert [reply.usage.cached_tokens for reply in replies] == [0] + [len(prompt)] * 7
    assert model.estimate(question).prompt_tokens == len(prompt)
