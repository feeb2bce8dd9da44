"""Threads for blocking calls that do not hold the end of a process.

Python waits at its end for every call in an executor's thread. A client of Kafka that does not answer blocks for seconds,
and a process that was told to stop has four.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Blocking calls wait for servers, so there are few of them; more than these wait for their turn.
THREADS_MAX = 16


class DaemonThreads(ThreadPoolExecutor):
    """Run calls in daemon threads; made for `loop.set_default_executor`, which insists on a ThreadPoolExecutor."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._free = threading.Semaphore(0)
        self._started = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the call as soon as a thread is free."""
        future: Future[T] = Future()
        if not self._free.acquire(blocking=False) and self._started < THREADS_MAX:
            self._started += 1
            threading.Thread(target=self._work, name=f"freehold-call-{self._started}", daemon=True).start()
        self._calls.put((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for nothing: what still runs ends with the process."""

    def _work(self) -> None:
        while True:
            future, call = self._calls.get()
            if future.set_running_or_notify_cancel():
                try:
                    result = call()
                except BaseException as error:  # noqa: BLE001 - it is the caller's, who waits for the future
                    future.set_exception(error)
                else:
                    future.set_result(result)
            self._free.release()
