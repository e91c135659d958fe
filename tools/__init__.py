"""What steps may use: `@tool`, the registry, and the built-in tools."""

from surefoot.storage.records import Effect
from surefoot.tools.function import tool
from surefoot.tools.registry import Registry, as_tool
from surefoot.tools.tool import Tool, ToolContext

__all__ = ["Effect", "Registry", "Tool", "ToolContext", "as_tool", "tool"]
