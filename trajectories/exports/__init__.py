"""Runs as rows that other programs read: one module for each format."""

from surefoot.trajectories.exports.formats import export

__all__ = ["export"]
