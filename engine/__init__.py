"""The engine: give it a task, and it completes it, verified step by step, or says why not."""

from surefoot.engine.engine import Engine
from surefoot.engine.result import Result
from surefoot.storage.records import Budget, Outcome

__all__ = ["Budget", "Engine", "Outcome", "Result"]
