"""What a worker has to do: predicted tokens of the requests that were sent there. Pure."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

# What a request of another router is taken for, where there is none of this one to compare with.
_UNKNOWN_TOKENS: Final = 500.0


@dataclass(frozen=True, slots=True)
class Burden:
    """`num` requests with so many predicted tokens to come; `num_young` of them are on probation,
    and `young_tokens` are to come until it ends.
    """

    num: int = 0
    tokens: float = 0.0
    num_young: int = 0
    young_tokens: float = 0.0

    @classmethod
    def of(cls, tokens: float, attained_tokens: float, probation_tokens: float) -> "Burden":
        """One request that has `tokens` to come and has had `attained_tokens`."""
        left = probation_tokens - attained_tokens
        return cls(1, tokens, 1, min(tokens, left)) if left > 0 else cls(1, tokens)

    def __add__(self, other: "Burden") -> "Burden":
        return Burden(
            self.num + other.num,
            self.tokens + other.tokens,
            self.num_young + other.num_young,
            self.young_tokens + other.young_tokens,
        )

    def __sub__(self, other: "Burden") -> "Burden":
        """Nothing is left of nobody, whatever rounding says: it would stay for ever."""
        num, num_young = self.num - other.num, self.num_young - other.num_young
        return Burden(
            num,
            self.tokens - other.tokens if num else 0.0,
            num_young,
            self.young_tokens - other.young_tokens if num_young else 0.0,
        )

    def scaled_to(self, num: int, probation_tokens: float) -> "Burden":
        """Of so many requests like these; of unknown ones where there are none."""
        if self.num == num:
            return self
        like = self if self.num else Burden.of(_UNKNOWN_TOKENS, 0.0, probation_tokens)
        share = num / like.num
        return Burden(
            num, share * like.tokens, round(share * like.num_young), share * like.young_tokens
        )


Expect = Callable[[float, float], None]
"""Takes the tokens that a request has to come, and those that it has had."""


class BurdenAccount:
    """Adds up the requests of this router at one worker."""

    def __init__(self) -> None:
        self.total = Burden()

    @contextmanager
    def expecting(
        self, tokens: float, attained_tokens: float, probation_tokens: Callable[[], float]
    ) -> Iterator[Expect]:
        """Counts a request for the duration of the block; what it yields says how it gets on."""
        mine = Burden()

        def expect(tokens: float, attained_tokens: float) -> None:
            nonlocal mine
            now = Burden.of(tokens, attained_tokens, probation_tokens())
            self.total = self.total - mine + now
            mine = now

        expect(tokens, attained_tokens)
        try:
            yield expect
        finally:
            self.total -= mine
