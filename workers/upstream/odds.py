"""How sure a server's model was of a token, from the log-probabilities that the server tells."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Odds(NamedTuple):
    """Of one sampled token: its log-probability, and the entropy where it was sampled, in nats."""

    logprob: float
    entropy: float

    @classmethod
    def of(cls, logprob: float, likely: Iterable[float]) -> "Odds":
        """`likely`: the log-probabilities of the most likely tokens.

        All others count as one, so the entropy is never above the true one, and near it where few
        tokens are likely: a trial that this calls hopeless is.
        """
        shares = [math.exp(likely_logprob) for likely_logprob in likely]
        shares.append(1.0 - sum(shares))
        return cls(logprob, -sum(share * math.log(share) for share in shares if share > 0))
