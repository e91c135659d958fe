"""What a run's record says: how each step stands, and the forms in which it leaves the store."""
