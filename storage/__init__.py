"""The bottom: the words that everything else speaks. The database is in `surefoot.storage.store`: slow to load."""

from surefoot.storage.records import Contract, Feedback, Plan, Step, given, ref

__all__ = ["Contract", "Feedback", "Plan", "Step", "given", "ref"]
