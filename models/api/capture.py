"""Token ids and log-probabilities of what a server samples: whether it gives them is found out by asking."""

from __future__ import annotations

import re

from surefoot.models.question import Reply
from surefoot.storage.errors import ModelError, ModelRefused

UNKNOWN_FIELD = re.compile(
    r"\(status \d+:.*(logprob|token_ids|un(known|recogni[sz]ed|supported|expected)"
    r"|(not|n.t) (supported?|permitted|allowed|implemented)"
    r"|additional propert|extra (inputs?|fields?)|parameter|argument|\bfields?\b)",
    re.IGNORECASE | re.DOTALL,
)
"""Words with which servers refuse a request for a field in it."""


class Capture:
    """Whether to ask a server for them: at first, and then where it gave the ids of the prompt and of the reply.

    Without both a reply cannot be trained on, and log-probabilities alone make replies a hundred times as large.
    """

    def __init__(self, wanted: bool | None, own: bool) -> None:
        """wanted: None asks servers of one's own (`own`), whose models may be trained."""
        self.asks = own if wanted is None else wanted
        self._known = not self.asks

    def refused(self, error: ModelError) -> bool:
        """Whether the request may have been refused for what it asked for, so that it is worth making without."""
        refused = isinstance(error, ModelRefused) and UNKNOWN_FIELD.search(str(error)) is not None
        return refused and not self._known

    def heard(self, asked: bool, reply: Reply) -> None:
        """What came of a request settles what is asked for from now on."""
        if not self._known:
            self._known = True
            self.asks = asked and reply.token_ids is not None and reply.prompt_ids is not None
