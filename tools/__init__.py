"""What steps may use: `@tool`, the registry, and the built-in tools."""

from surefoot.tools.function import tool
from surefoot.tools.tool import Tool, ToolContext

__all__ = ["Tool", "ToolContext", "tool"]
