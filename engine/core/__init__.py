"""What is decided, and what it is decided by. Pure: no clock, no disk, no model, nothing that waits."""
