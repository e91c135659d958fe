"""Asking a model: typed questions, chat APIs, local weights, scripted doubles."""

from surefoot.models.forbid import forbid_requests
from surefoot.models.question import Model, Question, Reply
from surefoot.models.registry import load
from surefoot.models.scripted import ReplayModel, ScriptedModel

__all__ = ["Model", "Question", "ReplayModel", "Reply", "ScriptedModel", "forbid_requests", "load"]
