"""A small system for tests of what starts and stops systems: two services on PostgreSQL, one on MongoDB, a gateway.

`notes` writes a note for each POST and counts them for each GET; `tags` and `marks` keep copies of the notes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from freehold import Event, Forward, Gateway, Mongo, Postgres, PostgresTransaction, Replica, Service, System

HERE = Path(__file__).parent
DEMO_COUNT = 50

notes_store = Postgres(migrations=HERE / "notes")
tags_store = Postgres(migrations=HERE / "tags")
marks_store = Mongo()


class NoteWritten(Event, entity="note"):
    """A note, the whole of it."""

    id: str
    text: str


class Note(msgspec.Struct):
    """What the others keep of a note."""

    id: str
    text: str


async def write_note(tx: PostgresTransaction) -> Any:
    row: Any = await tx.fetchrow("INSERT INTO notes (text) VALUES ('a note') RETURNING *")
    tx.publish(NoteWritten, row)
    return row


async def count_notes(tx: PostgresTransaction) -> Any:
    return await tx.fetchrow("SELECT count(*) FROM notes")


async def notes_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await live(receive, send)
    row = await notes_store.transact(write_note if scope["method"] == "POST" else count_notes)
    return await answer(send, str(row[0]))


async def other_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        return await live(receive, send)
    return await answer(send, " ".join(sorted(os.environ)))


async def live(receive: Any, send: Any) -> None:
    for what in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{what}.complete"})


async def answer(send: Any, text: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(text))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})


async def write_demo(progress: Any) -> None:
    for done in range(1, DEMO_COUNT + 1):
        await notes_store.transact(write_note)
        progress(done, DEMO_COUNT)


notes = Service(name="notes", store=notes_store, app=notes_app, publishes=[NoteWritten], demo=write_demo)
tags = Service(
    name="tags", store=tags_store, app=other_app, replicates=[Replica(Note, of="notes", entity="note", into="notes")]
)
marks = Service(
    name="marks", store=marks_store, app=other_app, replicates=[Replica(Note, of="notes", entity="note", into="notes")]
)
gateway = Gateway(name="gateway", routes=[Forward("/notes", to="notes")], compositions=[])

system = System(name="small", services=[notes, tags, marks], gateway=gateway, curl=["curl {gateway}/notes"])
