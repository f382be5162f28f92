"""What opens and closes the thinking of the upstream's model, in token ids."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Markers:
    """`wrap_up_ids` are fed before the close when the budget cuts the thinking."""

    open_ids: tuple[int, ...]
    close_ids: tuple[int, ...]
    wrap_up_ids: tuple[int, ...] = ()

    @property
    def close_id(self) -> int | None:
        """What the model closes its thinking with; None when no single token does that.

        Several tokens are only ever fed: the same text may be sampled in other tokens.
        """
        return self.close_ids[0] if len(self.close_ids) == 1 else None

    @property
    def reserved_ids(self) -> tuple[int, ...]:
        """Markers of one token, which no prefix and no answer may hold."""
        return tuple(ids[0] for ids in (self.open_ids, self.close_ids) if len(ids) == 1)

    @property
    def forced_close_ids(self) -> tuple[int, ...]:
        """The close of a thinking that its budget cut."""
        return (*self.wrap_up_ids, *self.close_ids)

    def are_open(self, prompt_ids: Sequence[int]) -> bool:
        """Whether a prompt ends inside the thinking: the last marker decides."""
        if len(self.open_ids) != 1:
            return False
        for token in reversed(prompt_ids):
            if token in self.reserved_ids:
                return token == self.open_ids[0]
        return False
