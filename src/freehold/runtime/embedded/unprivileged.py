"""Run a command that refuses root, when we are root: `python unprivileged.py COMMAND...`.

This file runs as a script, by itself, so that nothing of it happens in the process that starts servers.
A namespace of one's own comes first: inside it we are an ordinary user, outside the files stay ours, so that the data
and the libraries can be reached wherever they lie, also beneath a directory of mode 0700, and the data's owner is the same on every run.
"""

import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def main(command: list[str]) -> None:
    """Become an ordinary user and then the command."""
    enter_namespace()
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def enter_namespace() -> None:
    """Be an ordinary user in a user namespace of our own; outside it we stay who we are."""
    account = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    outer_user, outer_group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{account.pw_uid} {outer_user} 1")
    Path("/proc/self/gid_map").write_text(f"{account.pw_gid} {outer_group} 1")


if __name__ == "__main__":
    main(sys.argv[1:])
