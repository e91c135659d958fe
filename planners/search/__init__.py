"""Search over steps: several ways on are proposed at each state, and a value function says where to look next."""

from surefoot.planners.search.planner import SearchPlanner
from surefoot.planners.search.router import Router
from surefoot.planners.search.space import Offer, Space
from surefoot.planners.search.value import Guide, Value, measure

__all__ = ["Guide", "Offer", "Router", "SearchPlanner", "Space", "Value", "measure"]
