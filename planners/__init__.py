"""From a task to a plan: made by a model, fixed, one step at a time, or unfolding itself."""

from surefoot.planners.fixed import planner
from surefoot.planners.model import ModelPlanner, NextStepPlanner

__all__ = ["ModelPlanner", "NextStepPlanner", "planner"]
