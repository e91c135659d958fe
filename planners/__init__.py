from surefoot.planners.document import load_plan
from surefoot.planners.fixed import FixedPlanner, planner
from surefoot.planners.model import ModelPlanner, NextStepPlanner
from surefoot.planners.planner import Planner

__all__ = ["FixedPlanner", "ModelPlanner", "NextStepPlanner", "Planner", "load_plan", "planner"]
