"""pydantic-ai: an agent whose scripted model asks for N calls of a tool, one after the other. Nothing is stored.

The history is part of every request, so both time and memory grow with the square of the steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.usage import UsageLimits

from benchmarks.harness import expect


async def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    result = a + b
    if not isinstance(result, int) or result != a + 1:
        raise ValueError(f"{result} is not one more than {a}")
    return result


class Loop:
    """The agent's own loop."""

    def create(self, folder: Path) -> None:
        """It has no store."""

    def open(self, folder: Path, shape: str, seed: int) -> Callable[[int], None]:
        wanted = 0

        async def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            """The scripted model: asks for one more than the last result, and ends with the wanted number."""
            last = messages[-1].parts[-1]
            value = last.content if isinstance(last, ToolReturnPart) else 0
            if value == wanted:
                return ModelResponse(parts=[TextPart(str(value))])
            return ModelResponse(parts=[ToolCallPart("add", {"a": value, "b": 1})])

        agent = Agent(FunctionModel(model), tools=[add])

        def work(steps: int) -> None:
            nonlocal wanted
            wanted = steps
            result = agent.run_sync("Count.", usage_limits=UsageLimits(request_limit=None))
            parts = [part for message in result.all_messages() for part in message.parts]
            expect(result.output, str(steps), "the agent's output")
            expect(sum(isinstance(part, ToolReturnPart) for part in parts), steps, "results in the history")

        return work

    def count(self, folder: Path) -> None:
        return None
