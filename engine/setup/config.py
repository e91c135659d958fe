"""What an engine takes from the environment beside its models' options: variables that begin with `SUREFOOT_`."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class Config(BaseSettings):
    """Read when an `Engine` is made, never at import."""

    model_config = SettingsConfigDict(env_prefix="SUREFOOT_", extra="ignore")

    prior: float | None = None
    """Probability that a sample is right, to be assumed where nothing was measured."""
    store: str | None = None
    """SQLAlchemy URL or path of the store; None is ./.surefoot/surefoot.db."""
