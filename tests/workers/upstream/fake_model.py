"""A model for fake servers: it says what it is told to, one byte a token.

The next token depends on the ids before it alone, so that a resumed completion goes on.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer as HfTokenizer

from workers.tokenizer import Tokenizer


@dataclass
class FakeModel:
    """Thinks `thinking` after <think>, answers `answer` after </think>, then ends.

    `answers_late`: how often it would end before it answers, unless it may not. It is sure of its
    answer after `sure_after` thinking tokens, and answers otherwise each time if it `wavers`.
    """

    tokenizer: Tokenizer
    thinking: str = "2 and 2 are 4. So it must be 4."
    answer: str = "It is 4."
    answers_late: bool = False
    sure_after: int = 0
    wavers: bool = False
    _names: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model_dir: Path) -> "FakeModel":
        vocabulary = HfTokenizer.from_file(str(model_dir / "tokenizer.json")).get_vocab()
        names = {token: name for name, token in vocabulary.items()}
        return cls(Tokenizer(model_dir), _names=names)

    @property
    def end_id(self) -> int:
        return min(self.tokenizer.eos_ids)

    def thinking_ids(self) -> tuple[int, ...]:
        return self.tokenizer.encode_text(self.thinking)

    def next_token(self, ids: Sequence[int], banned: Collection[int]) -> int:
        opens, closes = self.tokenizer.think_open_id, self.tokenizer.think_close_id
        assert opens is not None
        assert closes is not None
        markers = [place for place, token in enumerate(ids) if token in (opens, closes)]
        marker = markers[-1] if markers else -1
        place = len(ids) - marker - 1
        if not markers or ids[marker] == opens:
            thinking = self.thinking_ids()
            return thinking[place] if place < len(thinking) else closes
        num_thought = marker - markers[-2] - 1 if len(markers) > 1 else marker
        text = f"{self.answer} {num_thought}" if self.wavers else self.answer
        answer = self.tokenizer.encode_text(text)
        is_late = self.answers_late and place == 0 and self.end_id not in banned
        return answer[place] if place < len(answer) and not is_late else self.end_id

    def share_of_next(self, ids: Sequence[int]) -> float:
        """How likely the next token is."""
        opens, closes = self.tokenizer.think_open_id, self.tokenizer.think_close_id
        markers = [place for place, token in enumerate(ids) if token in (opens, closes)]
        if len(markers) < 2:
            return 0.9
        num_thought = markers[1] - markers[0] - 1
        return 0.999 if num_thought >= self.sure_after else 0.9

    def bytes_of(self, token: int) -> bytes:
        """Nothing for special tokens."""
        return _BYTES.get(self._names[token], b"")


def _byte_names() -> dict[str, bytes]:
    """GPT-2's names of bytes: printable ones are themselves, the others follow from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [value for value in range(256) if value not in printable]
    names = {chr(value): bytes([value]) for value in printable}
    return names | {chr(256 + place): bytes([value]) for place, value in enumerate(others)}


_BYTES = _byte_names()
