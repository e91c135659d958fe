"""Trust: who says that a candidate is right, and how far that can be relied on."""

from surefoot.reflection.execution import ExecutionCheck
from surefoot.reflection.function import verifier
from surefoot.reflection.judge import Judge
from surefoot.reflection.recompute import Recompute
from surefoot.reflection.verifier import Case, Verifier

__all__ = ["Case", "ExecutionCheck", "Judge", "Recompute", "Verifier", "verifier"]
