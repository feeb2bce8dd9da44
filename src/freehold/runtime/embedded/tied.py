"""Run a command that ends when its parent does, however that ended: `python tied.py COMMAND...`.

This file runs as a script, by itself, so that nothing of it happens in the process that starts servers.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def tied() -> list[str]:
    """Give what to put before a command, so that it ends when the thread that starts it does."""
    return [sys.executable, "-I", "-S", __file__]


def main(command: list[str]) -> None:
    """Tie this process to its parent, where the system can do that, and become the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
