"""What an engine takes from the environment where it was not told: variables that begin with `SUREFOOT_`."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class Config(BaseSettings):
    """Read when an `Engine` is made, never at import."""

    model_config = SettingsConfigDict(env_prefix="SUREFOOT_", extra="ignore")

    model: str = "pocket"
    """The model of every role that has none of its own."""
    plan_model: str | None = None
    act_model: str | None = None
    judge_model: str | None = None
    base_url: str | None = None
    """Base URL of an OpenAI-compatible server, for models that are named by provider."""
    api_key: str | None = None
    prior: float | None = None
    """Probability that a sample is right, to be assumed where nothing was measured."""
    store: str | None = None
    """SQLAlchemy URL or path of the store; None is ./.surefoot/surefoot.db."""
