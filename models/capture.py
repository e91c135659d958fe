"""Token ids and log-probabilities of what a server samples: whether it gives them is found out by asking."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from surefoot.models.question import Reply
from surefoot.storage.errors import ModelError, ModelRefused

UNKNOWN_FIELD = re.compile(
    r"\(status \d+:.*(logprob|token_ids|un(known|recogni[sz]ed|supported|expected)"
    r"|(not|n.t) (supported?|permitted|allowed|implemented)|additional propert|extra (inputs?|fields?)|parameter|argument|\bfields?\b)",
    re.IGNORECASE | re.DOTALL,
)
"""Words with which servers refuse a request for a field in it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request asks for beside the text."""

    logprobs: bool = False
    token_ids: bool = False
    """vLLM's `return_token_ids`; other servers take no notice or refuse it."""


WISHES = (Wish(True, True), Wish(True), Wish())


class Capture:
    """What to ask a server for: everything at first, then what it was seen to give.

    wanted: None asks servers of one's own (`own`), whose models may be trained; others only where that is asked for.
    """

    def __init__(self, wanted: bool | None, own: bool) -> None:
        self.wishes: Sequence[Wish] = WISHES if wanted or (wanted is None and own) else WISHES[-1:]
        """To be tried in this order. One, once it is known what the server gives."""

    def refused(self, error: ModelError) -> bool:
        """Whether the request may have been refused for its wish alone, so that a smaller one is worth trying."""
        return isinstance(error, ModelRefused) and UNKNOWN_FIELD.search(str(error)) is not None

    def heard(self, wish: Wish, reply: Reply) -> None:
        """What came of a wish settles what is asked for from now on."""
        gave = reply.token_ids is not None or reply.logprobs is not None
        if len(self.wishes) > 1:
            self.wishes = (wish,) if gave else WISHES[-1:]
