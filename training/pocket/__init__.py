"""The scripts that train the pocket models."""
