"""A recorded run for people: the tree of its steps, or one step in full."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from surefoot.service.display.clean import clean, one_line
from surefoot.service.display.receipt import asked, asks, ending, labelled, next_command, short, spent, trust
from surefoot.service.display.terminal import dumps, shown, stdout, tell, value
from surefoot.service.display.tree import RunTree
from surefoot.service.display.view import lines
from surefoot.storage.records import (
    Attempt,
    Event,
    Feedback,
    JournalRecord,
    Message,
    ModelCall,
    PlannedStep,
    Reward,
    ToolCall,
    Usage,
    Verdict,
)
from surefoot.storage.run import RunInfo
from surefoot.storage.run_store import RunStore

RULINGS = {"pass": "green", "fail": "red", "abstain": "yellow"}


def show_run(store: RunStore, run_id: str, limit: int, where: str) -> None:
    info = store.run(run_id)
    tree = RunTree()
    verdicts: dict[str, Counter[str]] = defaultdict(Counter)
    rewards: list[Reward] = []
    for record in store.records(run_id):
        tree.add(record)
        if isinstance(record, Verdict):
            verdicts[record.verifier][record.ruling] += 1
        elif isinstance(record, Reward):
            rewards.append(record)
    console = stdout()
    console.print(Text(clean(info.goal), "bold"), soft_wrap=True)
    for line in lines(tree, console.width, limit):
        console.print(line)
    console.print()
    for name, text in _facts(info, tree, verdicts):
        _row(console, name, text)
    for reward in rewards:
        _row(console, "reward", Text(f"{one_line(reward.name)} {reward.value:g} by {one_line(reward.source)}"))
    _feedback(console, store.feedbacks(run_id))
    for name, text in asked(tree.questions()):
        _row(console, name, text)
    tell(f"next   {_next(info, tree, where)}")


def _facts(info: RunInfo, tree: RunTree, verdicts: dict[str, Counter[str]]) -> Iterable[tuple[str, Text]]:
    yield "", Text(*ending(info.outcome))
    if info.output is not None:
        yield "answer", Text(shown(info.output), "bold")
    if info.reason and not (info.outcome == "input_required" and tree.questions()):
        yield "why", Text(clean(info.reason))
    if info.reliability is not None and (line := trust(info.reliability)):
        yield "trust", Text(line)
    yield "steps", Text(f"{tree.committed} committed, {tree.rejected} rejected attempts")
    for name, counts in verdicts.items():
        said = ", ".join(f"{count} {ruling}" for ruling, count in sorted(counts.items()))
        yield "check", Text(f"{one_line(name)}: {said}")
    seconds = (info.ended_at or info.created_at) - info.created_at
    yield "spent", Text(spent(info.usage or tree.usage, seconds))
    config = info.config if isinstance(info.config, dict) else {}
    models = dict.fromkeys(str(name) for name in (config.get("models") or {}).values())
    yield "model", Text(one_line(", ".join(models)))
    yield "run", Text(info.run_id + (f", forked from {info.parent}" if info.parent else ""))


def _next(info: RunInfo, tree: RunTree, where: str) -> str:
    run = short(info.run_id) + where
    if info.outcome is None:
        return f"surefoot resume {run}   (if nothing works on it any more)"
    declined = "a person declined" in (info.reason or "")
    takes = info.outcome.means.resume
    if declined or takes in ("plain", "budget", "answers"):
        from surefoot.engine.result import stored  # loading the engine takes longer than the rest of `show`

        result = stored(info)
        result.questions = tree.questions()
        return next_command(result, where)
    if takes == "mended":
        return f"surefoot resume {run}   (once it is mended)"
    step = next((node for _, node, _ in tree.walk() if node.parent is not None), tree.root)
    return f"surefoot show {run} --step {step.seq}" if step is not None else f"surefoot show {run} --json"


def show_step(store: RunStore, run_id: str, seq: int, where: str) -> None:
    """Goal, arguments, attempts with their verdicts, tool calls and conversations of one step."""
    records = list(store.records(run_id, steps={seq}))
    console = stdout()
    step = next(one for one in records if isinstance(one, PlannedStep))
    console.print(Text(f"{one_line(step.step.id)}  ", "bold").append(clean(step.step.goal)), soft_wrap=True)
    _row(console, "number", Text(str(seq) + (f", needs {list(step.needs)}" if step.needs else "")))
    if does := step.step.tool or step.step.planner:
        _row(console, "by", Text(one_line(does)))
    if step.step.args:
        _row(console, "given", Text(dumps(dict(step.step.args))))
    verdicts: dict[int, list[Verdict]] = defaultdict(list)
    for one in records:
        if isinstance(one, Verdict):
            verdicts[one.attempt].append(one)
    for one in records:
        _record(console, one, verdicts)
    _feedback(console, [one for one in store.feedbacks(run_id) if one.step == seq])
    tell(f"next   surefoot feedback {short(run_id)} --step {seq} --score 1{where}")


def _record(console: Console, record: JournalRecord, verdicts: dict[int, list[Verdict]]) -> None:
    if isinstance(record, Message):
        calls = "" if not record.tool_calls else "\n" + dumps(record.tool_calls)
        console.print(Text(f"  {record.role}", "cyan"))
        console.print(Text(_indented(record.content + calls), "" if record.sampled else "dim"), soft_wrap=True)
    elif isinstance(record, ToolCall):
        came = f"error: {record.error}" if record.error else f"= {value(record.result)}"
        _row(console, "tool", Text(f"{one_line(record.name)} {value(record.arguments)} {clean(came)}"))
    elif isinstance(record, ModelCall):
        _row(console, "model", Text(f"{one_line(record.model)}, {_tokens(record.usage)}, {record.latency_ms:.0f} ms"))
        if record.error:
            _row(console, "", Text(clean(record.error), "red"))
    elif isinstance(record, Attempt):
        _attempt(console, record, verdicts[record.seq])
    elif isinstance(record, Event) and record.kind not in ("started", "finished"):
        _event(console, record)


def _attempt(console: Console, attempt: Attempt, verdicts: list[Verdict]) -> None:
    text = Text(f"{attempt.ordinal}, {attempt.role}: {attempt.status}")
    if attempt.status == "proposed":
        text.append(f" {value(attempt.output)}", "bold")
    elif attempt.error:
        text.append(f" {clean(attempt.error)}", "red")
    _row(console, "try", text)
    for one in verdicts:
        line = Text(f"{one_line(one.verifier)} ").append(one.ruling, RULINGS[one.ruling])
        if one.exact:
            line.append(" (exact)", "dim")
        _row(console, "check", line.append(f"  {clean(one.critique)}" if one.critique else ""))


def _event(console: Console, event: Event) -> None:
    if event.kind == "asked":
        _row(console, "asked", asks(event.data))
        return
    if event.kind == "paused":
        waits = len(event.data.get("keys", ()))
        _row(console, "paused", Text(f"until {waits} answers are there" if waits else "no more", "dim"))
        return
    data = {name: one for name, one in (event.data or {}).items() if name not in ("output", "version")}
    _row(console, event.kind.replace("_", " "), Text(dumps(data) if data else "", "dim"))


def _feedback(console: Console, said: Iterable[Feedback]) -> None:
    for one in said:
        parts = [f"{one_line(one.key)}"] + ([f"{one.score:g}"] if one.score is not None else [])
        parts += [clean(one.comment)] if one.comment else []
        parts += [f"should be {value(one.correction)}"] if one.correction is not None else []
        _row(console, "said", Text("  ".join(parts)))


def _row(console: Console, name: str, text: Text) -> None:
    console.print(labelled(name, text, 9), soft_wrap=True)


def _tokens(usage: Usage) -> str:
    return f"{usage.prompt_tokens} + {usage.completion_tokens} tokens"


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in clean(text).splitlines())
