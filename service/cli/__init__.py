"""The command line: a module for each command, and what commands share."""

from surefoot.service.cli.app import main

__all__ = ["main"]
