"""The answer as the caller has it, also when a lost worker makes another one write it again."""


class AnswerText:
    """Gives out every character once. `text` is the whole answer of the present segment."""

    def __init__(self) -> None:
        self.text = ""
        self._sent = ""

    def restart(self) -> None:
        """A new segment writes the answer from its beginning."""
        self.text = ""

    def append(self, text: str) -> str:
        """The part that the caller does not have yet.

        A rewrite that differs from what was sent cannot be taken back: then nothing more is given
        out, and the caller takes the answer from the final event.
        """
        self.text += text
        if not self.text.startswith(self._sent):
            return ""
        delta = self.text[len(self._sent) :]
        self._sent = self.text
        return delta
