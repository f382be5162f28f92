"""Ties the life of a child process to its parent's. Linux only; elsewhere it does nothing."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)


def die_with_parent() -> Callable[[], None] | None:
    """A preexec_fn: the kernel sends the child SIGTERM when the parent dies, however it dies.

    The parent is the thread that starts the child, not only its process.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def ask_kernel() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)

    return ask_kernel
