"""Whether an answer was right, as callers tell it and as the ledger keeps it."""

from dataclasses import dataclass
from typing import Self

from redis.typing import EncodableT, FieldT


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Whether the answer of a request was right. `score` is finer, 0 to 1. Time is unix."""

    tenant: str
    request_id: str
    correct: bool
    score: float | None
    given_at_s: float

    def to_record(self) -> dict[FieldT, EncodableT]:
        """The fields of its entry in a Redis stream."""
        return {
            "tenant": self.tenant,
            "request_id": self.request_id,
            "correct": int(self.correct),
            "score": "" if self.score is None else self.score,
            "given_at_s": self.given_at_s,
        }

    @classmethod
    def from_record(cls, record: dict[bytes, bytes]) -> Self:
        """Raises KeyError or ValueError for what `to_record` did not make."""
        score = record[b"score"]
        return cls(
            tenant=record[b"tenant"].decode(),
            request_id=record[b"request_id"].decode(),
            correct=record[b"correct"] == b"1",
            score=float(score) if score else None,
            given_at_s=float(record[b"given_at_s"]),
        )
