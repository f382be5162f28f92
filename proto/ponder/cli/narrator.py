"""Tells a stream of ReasonEvents on the terminal, as it arrives."""

import sys

import click

from ponder.cli.words import decision_line, usage_line
from ponder.v1.reasoner_pb2 import Decision, Progress, ReasonEvent, ReasonReply

_CLEAR_LINE = "\r\x1b[K"


class Narrator:
    """The answer goes to stdout, or nowhere; all else to stderr. Progress only on a terminal."""

    def __init__(self, *, answer_to_stdout: bool) -> None:
        self._answer_to_stdout = answer_to_stdout
        self._shows_progress = sys.stderr.isatty()
        self._budget_tokens = 0
        self._has_decided = False
        self._in_progress_line = False
        self._in_answer_line = False

    def tell(self, event: ReasonEvent) -> None:
        """Prints one event."""
        match event.WhichOneof("event"):
            case "decision":
                self._tell_decision(event.decision)
            case "progress":
                self._tell_progress(event.progress)
            case "answer_delta":
                self._tell_answer(event.answer_delta)
            case "final":
                self._tell_final(event.final)

    def end_lines(self) -> None:
        """Leaves the cursor at the beginning of a line, also after a stream that broke."""
        self._clear_progress()
        if self._in_answer_line:
            click.echo()
            self._in_answer_line = False

    def _tell_decision(self, decision: Decision) -> None:
        self._clear_progress()
        head = "escalated to " if self._has_decided else ""
        self._note(head + decision_line(decision))
        self._budget_tokens = decision.budget_tokens
        self._has_decided = True

    def _tell_progress(self, progress: Progress) -> None:
        if self._shows_progress:
            text = f"thinking, {progress.thinking_tokens} of {self._budget_tokens} tokens"
            click.echo(_CLEAR_LINE + click.style(text, dim=True), nl=False, err=True)
            self._in_progress_line = True

    def _tell_answer(self, text: str) -> None:
        self._clear_progress()
        if self._answer_to_stdout:
            click.echo(text, nl=False)
            self._in_answer_line = True

    def _tell_final(self, reply: ReasonReply) -> None:
        self.end_lines()
        if reply.HasField("thinking"):
            self._note(f"thinking:\n{reply.thinking.strip()}")
        self._note(usage_line(reply))

    def _note(self, text: str) -> None:
        click.echo(click.style(text, dim=True), err=True)

    def _clear_progress(self) -> None:
        if self._in_progress_line:
            click.echo(_CLEAR_LINE, nl=False, err=True)
            self._in_progress_line = False
