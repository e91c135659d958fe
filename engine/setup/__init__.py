"""From what a caller passes to what a run works with."""
