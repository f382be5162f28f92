"""Whether a new classifier misses more often than it may: a test that may be looked at any time.

Pure. A request missed when the first budget that the prediction chose did not suffice.

The test is an e-process. Let request i miss with probability at most q_i given what went before.
Then for an odds ratio r > 1 the product of r^(miss_i) / (1 + q_i (r - 1)) is a supermartingale that
starts at 1. As log(1 + q (r - 1)) is concave in q, the product is no smaller when every q_i is
replaced by their mean (Jensen), so that with m misses among n requests

    E_r = r^m / (1 + mean(q) (r - 1))^n

stays below 1 / level at all times together with probability 1 - level (Ville's inequality), however
often it is looked at; and so does a mean of E_r over several r. All it needs are sums. Sources:
Ramdas, Gruenwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference",
Statistical Science 38 (2023), sections 2 and 3; Waudby-Smith, Ramdas, "Estimating means of bounded
random variables by betting", JRSS B 86 (2024), for the bounds that follow from such bets.

Requests still running are missing from the counts, mostly those that will have missed: that delays
a rollback and triggers none. The counts are of one day; on each further day the level holds anew.
"""

import math
from dataclasses import dataclass
from typing import Final, Protocol

_ODDS_RATIOS: Final = (1.15, 1.3, 1.6, 2.0, 3.0, 6.0)
"""What the bets are on: from a few points more than allowed to a classifier that is no use."""
_BISECTIONS: Final = 40


class Tally(Protocol):
    """Requests decided, those that missed, and how many misses were predicted."""

    @property
    def decided(self) -> int: ...

    @property
    def missed(self) -> int: ...

    @property
    def expected(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """`tolerance`: by how much the miss rate may exceed what it is compared with, a share.
    `confidence`: the probability with which a version that keeps to it is never rolled back.
    """

    tolerance: float = 0.02
    confidence: float = 0.99


def objection(version: Tally, rival: Tally | None, config: GuardConfig) -> str:
    """Why the version must go, in words; empty when it may stay.

    Its miss rate is compared with what it predicted and with the `rival` that decides beside it;
    None: with what it predicted only.
    """
    level = (1.0 - config.confidence) / 2.0
    confident = f"with {config.confidence:.0%} confidence"
    if not version.decided:
        return ""
    rate, predicted = version.missed / version.decided, version.expected / version.decided
    seen = f"{version.missed} of {version.decided} first budgets did not suffice ({rate:.1%})"
    if _refutes(version.missed, version.decided, predicted + config.tolerance, level):
        return f"{seen}, {predicted:.1%} were predicted: too many {confident}"
    if rival is None or not rival.decided:
        return ""
    most = highest_rate(rival.missed, rival.decided, level / 2.0)
    if _refutes(version.missed, version.decided, most + config.tolerance, level / 2.0):
        beside = rival.missed / rival.decided
        return f"{seen}, {beside:.1%} of the champion's: too many {confident}"
    return ""


def lowest_rate(missed: int, decided: int, level: float) -> float:
    """Lower bound on the mean probability of a miss, valid at all times together with probability
    1 - level: the largest mean that the bets of the module's text refute. 0 without requests.
    """
    low, high = 0.0, missed / decided if decided else 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if _refutes(missed, decided, middle, level):
            low = middle
        else:
            high = middle
    return low


def highest_rate(missed: int, decided: int, level: float) -> float:
    """Upper bound, likewise: the same for requests that did not miss. 1 without requests."""
    return 1.0 - lowest_rate(decided - missed, decided, level)


def _refutes(missed: int, decided: int, rate: float, level: float) -> bool:
    """Whether it can no longer be that misses had a mean probability of `rate` or less."""
    return _log_evidence(missed, decided, rate) >= -math.log(level)


def _log_evidence(missed: int, decided: int, rate: float) -> float:
    """Logarithm of the mean bet that the probability of a miss is above `rate`; falls with it."""
    logs = [
        missed * math.log(odds) - decided * math.log1p(rate * (odds - 1.0)) for odds in _ODDS_RATIOS
    ]
    largest = max(logs)
    total = math.fsum(math.exp(log - largest) for log in logs)
    return largest + math.log(total / len(logs))
