"""Tasks end though a cancellation of theirs is lost."""

import asyncio

import pytest

from freehold.cancel import end_tasks


async def _losing(count: int, lost: list[int]) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost.append(1)
            if len(lost) > count:
                raise


async def test_task_that_loses_a_cancellation_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.cancel.AGAIN_S", 0.01)
    lost: list[int] = []
    task = asyncio.create_task(_losing(3, lost))
    await asyncio.sleep(0)

    await end_tasks([task])

    assert task.cancelled()
    assert len(lost) == 4


async def test_cancellation_in_the_moment_in_which_what_is_waited_for_is_done_ends_the_task() -> None:
    # As PyMongo waits for each message to be written, and then for the next one.
    written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send() -> None:
        await asyncio.wait_for(written, timeout=60)
        await asyncio.sleep(60)

    task = asyncio.create_task(send())
    await asyncio.sleep(0)
    written.set_result(None)

    await end_tasks([task])

    assert task.done()


async def test_task_that_ends_by_itself_or_fails_is_no_concern() -> None:
    async def fail() -> None:
        raise ValueError

    done, failed = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail())
    await asyncio.wait({done, failed})
    await end_tasks([done, failed])
    await end_tasks([])


async def test_task_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.cancel.AGAIN_S", 0.001)
    lost: list[int] = []
    task = asyncio.create_task(_losing(100, lost))
    await asyncio.sleep(0)
    await end_tasks([task])
    assert not task.done()
    monkeypatch.setattr("freehold.cancel.TIMES_MAX", 200)
    await end_tasks([task])
