"""A FastAPI service runs on the same library: edge, health, problem+json, and events with the write."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from freehold import Event, Postgres, Service
from freehold.http.problem import Problem
from freehold.testing import TestedService


class NoteWritten(Event, entity="note"):
    id: str
    text: str


class Note(BaseModel):
    id: str
    text: str


Run = Callable[..., AbstractAsyncContextManager[TestedService]]


@pytest.fixture
def notes(tmp_path: Path) -> Service:
    (tmp_path / "0001_notes.sql").write_text(
        "CREATE TABLE notes (id text PRIMARY KEY, text text, version int NOT NULL)"
    )
    store = Postgres(migrations=tmp_path)
    app = FastAPI()

    async def write(tx: Any, note: Note) -> Any:
        row = await tx.fetchrow(
            "INSERT INTO notes VALUES ($1, $2, 1) ON CONFLICT (id) DO UPDATE SET text = $2, version = notes.version + 1"
            " RETURNING *",
            note.id,
            note.text,
        )
        tx.publish(NoteWritten, row)
        return row["version"]

    @app.post("/notes", status_code=201)
    async def post(note: Note) -> dict[str, int]:
        return {"version": await store.transact(write, note)}

    @app.get("/notes/{note_id}")
    async def read(note_id: str) -> dict[str, str]:
        row = await store.fetchrow("SELECT id, text FROM notes WHERE id = $1", note_id)
        if row is None:
            raise HTTPException(404, "there is no such note")
        return dict(row)

    @app.get("/refused")
    async def refused() -> None:
        raise Problem(409, "not now", type="busy")

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    return Service(name="notes", store=store, app=app, publishes=[NoteWritten])


async def test_a_fastapi_service_runs_on_the_same_library(notes: Service, freehold_service: Run) -> None:
    async with freehold_service(notes) as running:
        written = await running.client.post("/notes", json={"id": "1", "text": "hello"})
        await running.settled()
        read = await running.client.get("/notes/1")
        ready = await running.client.get("/readyz")
        metrics = await running.client.get("/metrics")

        assert (written.status_code, written.json()) == (201, {"version": 1})
        assert read.json() == {"id": "1", "text": "hello"}
        assert "traceresponse" in read.headers
        assert running.running.relay.progress.shipped_total == 1
        assert ready.status_code == 200
        assert 'http_route="/notes/{note_id}"' in metrics.text


async def test_each_error_of_a_fastapi_service_is_a_problem(notes: Service, freehold_service: Run) -> None:
    async with freehold_service(notes, only="api") as running:
        answers = {
            "refused": await running.client.get("/refused"),
            "broken": await running.client.get("/broken"),
            "absent": await running.client.get("/notes/none"),
            "unknown": await running.client.get("/nothing"),
            "method": await running.client.delete("/refused"),
            "wrong": await running.client.post("/notes", json={"id": 1}),
        }

        kinds = {answer.headers["content-type"] for answer in answers.values()}
        statuses = {name: answer.status_code for name, answer in answers.items()}
        assert kinds == {"application/problem+json"}
        assert statuses == {"refused": 409, "broken": 500, "absent": 404, "unknown": 404, "method": 405, "wrong": 422}
        assert answers["absent"].json()["detail"] == "there is no such note"
        assert answers["refused"].json()["type"] == "urn:freehold:problem:busy"
        assert [fault["pointer"] for fault in answers["wrong"].json()["errors"]] == ["/id", "/text"]
        assert "hunter2" not in answers["broken"].text
        for answer in answers.values():
            assert answer.json()["trace_id"] == answer.headers["traceresponse"].split("-")[1]


async def test_what_does_not_settle_is_named(notes: Service, freehold_service: Run) -> None:
    async with freehold_service(notes, only="api") as running:
        await running.client.post("/notes", json={"id": "1", "text": "hello"})

        with pytest.raises(AssertionError, match=r"1 rows wait in the outbox of notes \(relay: not started\)"):
            await running.settled(limit_s=0.1)


async def test_each_test_has_a_clean_database(notes: Service, freehold_service: Run) -> None:
    async with freehold_service(notes, only="api") as running:
        assert await notes.store.fetchval("SELECT count(*) FROM notes") == 0
        await running.client.post("/notes", json={"id": "1", "text": "hello"})
    async with freehold_service(notes, only="api"):
        # Within one test a service that is started again finds what it left.
        assert await notes.store.fetchval("SELECT count(*) FROM notes") == 1
