"""What is measured of the server from here: its speed as the requests see it."""

from collections.abc import Callable

_HALF_LIFE_S = 5.0
_WEIGHT = 0.1  # of the newest among first tokens and gaps


class Meter:
    """Moving averages; 0 until there is something to measure."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.sampled_tokens = 0
        self.finished = 0
        self.failed = 0
        self.trials_dropped = 0
        self.time_to_first_token_s = 0.0
        self.time_per_output_token_s = 0.0
        self._recent_tokens = 0.0
        self._recent_at_s = clock()
        self._num_first_tokens = 0

    @property
    def tokens_per_s(self) -> float:
        """Of all requests together, over the last seconds."""
        return self._decayed() * 0.693 / _HALF_LIFE_S

    def record_first(self, num_tokens: int, since_arrival_s: float) -> None:
        """The first tokens of a request."""
        self._num_first_tokens += 1
        weight = max(_WEIGHT, 1 / self._num_first_tokens)
        self.time_to_first_token_s += weight * (since_arrival_s - self.time_to_first_token_s)
        self._add(num_tokens)

    def record(self, num_tokens: int, gap_s: float) -> None:
        """Tokens that came `gap_s` after those before, of the same request."""
        pace_s = gap_s / num_tokens
        before_s = self.time_per_output_token_s
        self.time_per_output_token_s = before_s + (_WEIGHT if before_s else 1) * (pace_s - before_s)
        self._add(num_tokens)

    def record_trial(self, num_tokens: int) -> None:
        """Tokens of a trial answer."""
        self._add(num_tokens)

    def _add(self, num_tokens: int) -> None:
        self.sampled_tokens += num_tokens
        self._recent_tokens = self._decayed() + num_tokens
        self._recent_at_s = self._clock()

    def _decayed(self) -> float:
        age_s = self._clock() - self._recent_at_s
        return float(self._recent_tokens * 0.5 ** (age_s / _HALF_LIFE_S))
