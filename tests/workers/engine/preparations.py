"""What the engine's own process is told to do first. Apart, because the process imports it."""

import os
import signal

import torch

from workers.engine import LLMEngine


def one_thread() -> None:
    torch.set_num_threads(1)


def ignore_sigterm() -> None:
    """As the worker does."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def break_steps() -> None:
    """Every step fails."""

    def fail(engine: LLMEngine) -> None:
        raise RuntimeError("device lost")

    LLMEngine.step = fail  # type: ignore[method-assign, assignment] # in that process alone


def break_loading() -> None:
    """Fails with an error that cannot be sent as it is."""

    class Private(Exception):
        pass

    raise Private("no pickle takes this class")


def vanish() -> None:
    """Ends the process without a word."""
    os._exit(3)
