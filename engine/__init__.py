from surefoot.engine.engine import Engine
from surefoot.engine.result import Receipt, Result
from surefoot.storage.records import Budget, Outcome

__all__ = ["Budget", "Engine", "Outcome", "Receipt", "Result"]
