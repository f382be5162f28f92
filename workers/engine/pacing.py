"""How many prompt tokens the next step may prefill without making those who decode wait."""

from workers.engine.config import EngineConfig

# The batch, and with it the cost, changes over seconds; steps take milliseconds.
_HALF_LIFE_STEPS = 32


class PrefillPacer:
    """Fits the duration of a step to `base + cost * prefill tokens`, least squares over recent
    steps, and sizes the prefill so that the sum meets the target.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._target_s = config.target_token_s
        self._most = config.prefill_chunk_tokens
        self._least = min(config.min_prefill_chunk_tokens, self._most)
        self._decay = 0.5 ** (1 / _HALF_LIFE_STEPS)
        # Decayed sums over steps of 1, x, y, xx and xy: x prefill tokens, y seconds.
        self._sums = (0.0, 0.0, 0.0, 0.0, 0.0)

    def chunk_tokens(self, num_decode: int) -> int:
        """Prefill tokens for a step that also decodes `num_decode` sequences."""
        base_s, cost_s = self._fit()
        if num_decode == 0 or cost_s <= 0:
            return self._most
        affordable = (self._target_s - base_s) / cost_s
        return int(max(self._least, min(affordable, self._most)))

    def record(self, prefill_tokens: int, duration_s: float) -> None:
        """Learn from a step."""
        step = (1.0, prefill_tokens, duration_s, prefill_tokens**2, prefill_tokens * duration_s)
        n, x, y, xx, xy = (
            self._decay * old + new for old, new in zip(self._sums, step, strict=True)
        )
        self._sums = (n, x, y, xx, xy)

    def _fit(self) -> tuple[float, float]:
        """Seconds of a step without prefill, and per prefill token; zeros until measured."""
        n, x, y, xx, xy = self._sums
        if x == 0:
            return (y / n if n else 0.0), 0.0
        spread = n * xx - x * x
        if spread <= 1e-9 * n * xx:  # all steps alike: lay everything on the tokens
            return 0.0, y / x
        cost_s = max(0.0, (n * xy - x * y) / spread)
        return max(0.0, (y - cost_s * x) / n), cost_s
