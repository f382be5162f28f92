"""Ties the life of a child process to its parent's, however the parent dies. Linux only.

Run as a program it becomes another one: `python parent_death.py PARENT_PID PROGRAM ARGUMENT...`.
Not a preexec_fn: Python code between fork and exec may deadlock, and does once gRPC has threads.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # Source: prctl(2)
_CANNOT_RUN = 127


def dying_with_parent(command: Sequence[str]) -> tuple[str, ...]:
    """The command to start instead, from this process: the kernel sends it SIGTERM when we die.

    That is when the thread that starts it ends, not only the process. Other systems than Linux
    offer nothing like it; there the command is returned as it is.
    """
    if sys.platform != "linux":
        return tuple(command)
    # Neither the user's packages nor his settings are needed, and it starts faster without.
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def _main(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:
        return
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(_CANNOT_RUN)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])
