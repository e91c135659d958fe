"""How an engine is set: the same for all its runs, unless a run asks for something else."""

from __future__ import annotations

from dataclasses import dataclass

from surefoot.engine.setup.arguments import FLAG, NUMBER, WHOLE, fit, probability, several
from surefoot.engine.setup.fallbacks import FALLBACKS, USUAL
from surefoot.storage.errors import SetupError

LEAST = {"votes": 1, "tries": 1, "samples": 1, "replans": 0, "concurrency": 1}
"""The least that these settings may be."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How far to trust, how often to try, how much at once."""

    verify: bool = True
    """False: one sample, accepted as it is; its outcome is `unverified`."""
    target: float | None = None
    votes: int | None = None
    """Lead that a sampled output needs where no exact check passes it; None: what the target takes."""
    prior: float | None = None
    """Probability that a sample is right, where nothing was measured; None: as the model's card says, else `PRIOR`."""
    tries: int = 4
    samples: int | None = None
    """Attempts of one source at a step; None: what the target takes, and some more."""
    replans: int = 2
    strict: bool = False
    """What votes alone accepted is an abstention, too."""
    ladder: tuple[str, ...] = USUAL
    """Strategies for steps that do not get their evidence; those left out are not tried."""
    canaries: float = 0.1
    """Share of a run's tokens that may go into measuring its verifiers; 0 measures none."""
    forms: bool = True
    """What votes alone decide is asked in two forms, in turn."""
    concurrency: int = 32
    """Steps driven at once."""
    temperature: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "ladder", several("ladder", self.ladder))  # from the record it comes as a list
        fit(FLAG, verify=self.verify, strict=self.strict, forms=self.forms)
        fit(NUMBER, temperature=self.temperature, canaries=self.canaries)
        fit(WHOLE, seed=self.seed, **{name: getattr(self, name) for name in LEAST})
        probability("target", self.target)
        probability("prior", self.prior, 0.5)
        if unknown := set(self.ladder) - FALLBACKS.keys():
            raise SetupError(f"ladder: there is no strategy {min(unknown)!r}; there are: {', '.join(FALLBACKS)}")
        if not 0 <= self.canaries <= 1:
            raise SetupError(f"canaries={self.canaries} is no share between 0 and 1")
        if self.temperature is not None and not self.temperature >= 0:
            raise SetupError(f"temperature={self.temperature} is too small; the least is 0")
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise SetupError(f"{name}={value} is too small; the least is {least}")
