"""A command on a terminal of its own: what it shows there, and what somebody types."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping

LIMIT_S = 60.0
PRESSED_AGAIN_S = 5.0
CTRL_C = "\x03"
CTRL_D = "\x04"
# Forking is for a process without threads: this one does nothing else, and ends as the command did.
# Tests that run in the background of a shell ignore interrupts, and what they start would, too.
_ON_A_TERMINAL = """
import os, pty, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])) % 256)
"""


class Terminal:
    """What one command shows and is told; see `on_terminal`."""

    def __init__(self, process: Process) -> None:
        self.shown = ""
        self._process = process

    async def shows(self, text: str) -> None:
        """Wait until that text stands there."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            while text not in self.shown:
                read = await self._process.stdout.read(4_096)
                assert read, f"it ended and never showed {text!r}: {self.shown}"
                self.shown += read.decode(errors="replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Type it."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    async def ends_when_interrupted(self) -> int:
        """Press Ctrl-C until it has ended: Python loses one that comes between its prompt and the read behind that."""
        ending = asyncio.create_task(self.ends())
        while not ending.done():
            self.type(CTRL_C)
            await asyncio.wait({ending}, timeout=PRESSED_AGAIN_S)
        return await ending

    async def ends(self) -> int:
        """Wait until the command has ended, read the rest, and give its exit code."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            self.shown += (await self._process.stdout.read()).decode(errors="replace").replace("\r\n", "\n")
            return await self._process.wait()


@contextlib.asynccontextmanager
async def on_terminal(arguments: list[str], variables: Mapping[str, str]) -> AsyncIterator[Terminal]:
    """Run `freehold ARGUMENTS` on a terminal."""
    command = [sys.executable, "-c", _ON_A_TERMINAL, sys.executable, "-m", "freehold", *arguments]
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm", **variables}
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment)
    try:
        yield Terminal(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
