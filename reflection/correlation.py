"""How alike errors are: samples of one prompt share its difficulties, and votes cannot mend what they share.

Prompts have accuracies p_i ~ Beta(p c, (1-p) c) with mean p and concentration c. Two samples of one prompt are then
wrong together more often than by chance: a wrong sample is followed by another wrong one with probability

    P(wrong | wrong) = E[(1-p_i)^2] / E[1-p_i] = (1-p) + p / (c+1)

so counting wrong samples that follow wrong ones gives c, without knowing any p_i.
"""

from __future__ import annotations

from math import inf

LEAST = 0.05
"""Concentration of prompts that are all right or all wrong, as good as."""


def concentration(p: float, again: float) -> float:
    """c from the mean accuracy and the rate at which a wrong sample is followed by another; infinite where that is
    no more than chance."""
    shared = (again - (1 - p)) / p if p > 0 else 1.0
    return inf if shared <= 0 else max(1 / shared - 1, LEAST)
