"""Runs that began before: read back, taken up, decided again."""
