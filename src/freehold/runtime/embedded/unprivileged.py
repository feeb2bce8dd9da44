"""Run a command that refuses root and users without an account: `python unprivileged.py DIRECTORY COMMAND...`.

This file runs as a script, by itself, so that nothing of it happens in the process that starts servers. Two ways, in
this order; either way DIRECTORY and all in it is given to the user that the command will be:

1. An ordinary user in a user namespace of our own. Outside it we stay who we are, so that data and libraries can be
   reached wherever they lie, also beneath a directory of mode 0700, which hides them from everybody but root.
2. The system's `nobody`, where namespaces are forbidden, as in many containers and in every chroot. What is hidden from
   `nobody` is reached by the one capability that looks past file modes, kept across the change of user only if it is
   needed. access(2), by which initdb looks for its programs, heeds that capability only with NO_SETUID_FIXUP set.
"""

import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
CAP_SETPCAP = 8
CAPABILITY_VERSION_3 = 0x20080522


def main(directory: Path, command: list[str]) -> None:
    """Become an ordinary user who owns the directory, and then the command."""
    libc = ctypes.CDLL(None, use_errno=True)
    if is_namespace_allowed(libc):
        give(directory, os.geteuid(), os.getegid())  # it may have been nobody's
        enter_namespace(libc)
    else:
        become_nobody(libc, directory, Path(command[0]))
    os.chdir(directory)
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


def is_namespace_allowed(libc: ctypes.CDLL) -> bool:
    """Try it in a child, because who was stopped halfway there has no way back."""
    child = os.fork()
    if child == 0:
        try:
            enter_namespace(libc)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def enter_namespace(libc: ctypes.CDLL) -> None:
    """Be an ordinary user in a user namespace of our own; outside it we stay who we are.

    Raises:
        OSError: User namespaces are forbidden here.
    """
    account = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    user, group = os.geteuid(), os.getegid()
    _check(libc.unshare(CLONE_NEWUSER), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{account.pw_uid} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{account.pw_gid} {group} 1")


def become_nobody(libc: ctypes.CDLL, directory: Path, program: Path) -> None:
    """Be `nobody`, who can reach the directory and the program.

    Raises:
        OSError: Not allowed: we may not change the user, or not look past file modes.
    """
    account = pwd.getpwnam("nobody")
    give(directory, account.pw_uid, account.pw_gid)
    _check(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "keep capabilities")
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    if os.access(program, os.X_OK) and os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return
    keep_capabilities(libc, CAP_DAC_OVERRIDE, CAP_SETPCAP)
    _check(libc.prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0), "let access(2) heed capabilities")
    keep_capabilities(libc, CAP_DAC_OVERRIDE)
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE, 0, 0), "pass CAP_DAC_OVERRIDE on")


def keep_capabilities(libc: ctypes.CDLL, *kept: int) -> None:
    """Have these capabilities and no other."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    mask = sum(1 << number for number in kept)
    # Effective, permitted, inheritable; then the same for the capabilities from 32 on, of which none is kept.
    _check(libc.capset(header, (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)), "keep capabilities")


def give(directory: Path, user: int, group: int) -> None:
    """Give a directory and all in it to a user; what is theirs already is left alone."""
    for folder, _, files in os.walk(directory):
        for path in [Path(folder), *(Path(folder) / file for file in files)]:
            if path.lstat().st_uid != user:
                os.chown(path, user, group, follow_symlinks=False)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
