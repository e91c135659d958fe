"""The bottom: the words that everything else speaks, and the store that keeps them."""

from surefoot.storage.journal import Journal
from surefoot.storage.records import Budget, Effect, Feedback, Outcome
from surefoot.storage.store import Store

__all__ = ["Budget", "Effect", "Feedback", "Journal", "Outcome", "Store"]
