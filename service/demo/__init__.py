"""The tasks that the demo shows."""
