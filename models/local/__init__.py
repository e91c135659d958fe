"""Models with local weights."""

from surefoot.models.local.model import LocalModel

__all__ = ["LocalModel"]
