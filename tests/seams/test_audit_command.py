"""`freehold audit` as an operator runs it: what it prints, what programs rely on, and its exit code."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from pathlib import Path

from freehold.http.internal import OPERATOR
from freehold.http.peer import peer_url
from freehold.testing import Scene
from tests.seams.audited import add_users, make_user, owner, subscriber
from tests.seams.test_audit import remove_copy

ROOT = Path(__file__).parents[2]


async def freehold(scene: Scene, *words: str) -> tuple[int, str, str]:
    """Run the command line in a process of its own."""
    upstreams = {
        f"FREEHOLD_UPSTREAM_{name.upper()}": peer_url(url, OPERATOR, scene.internal_key)
        for name, url in scene.urls.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "freehold",
        *words,
        cwd=ROOT,
        env={
            **os.environ,
            **upstreams,
            "FREEHOLD_SYSTEM": "tests.seams.audited_system:system",
            "PYTHONPATH": str(ROOT),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_audit_says_what_differs_and_its_exit_code_tells(freehold_scene: Scene) -> None:
    async with freehold_scene.run(owner("postgres")) as owning, freehold_scene.run(subscriber("mongo")) as keeping:
        users = [make_user(number, random.Random(number)) for number in range(20)]  # noqa: S311 (repeatable)
        await owning.service.store.transact(add_users, users)
        await owning.settled()

        code, output, errors = await freehold(freehold_scene, "audit")
        assert (code, errors) == (0, "")
        assert output.startswith("orders.customers: 20 rows in ")
        assert output.endswith("all equal\n")

        await remove_copy(keeping, "u00003")
        code, output, _ = await freehold(freehold_scene, "audit", "customers", "--json")
        said = json.loads(output)
        assert (code, said["replica"], said["rows"]) == (1, "orders.customers", 20)
        assert said["seconds"] > 0
        [found] = said["differing"]
        assert found["id"] == "u00003"
        assert (found["kind"], found["owner_version"], found["copy_version"]) == ("missing", 1, None)
        assert (found["where"], found["document"], found["repaired"]) == ("customers", "", False)
        assert found["position"].startswith("users/")

        code, output, _ = await freehold(freehold_scene, "audit", "orders.customers")
        assert (code, "customers u00003: missing (owner at 1, copy has none, at users/" in output) == (1, True)

        code, output, _ = await freehold(freehold_scene, "audit", "orders.customers", "--repair")
        assert (code, "; repaired\n" in output) == (0, True)
        code, output, _ = await freehold(freehold_scene, "audit", "--json")
        assert (code, json.loads(output)["differing"]) == (0, [])


async def test_what_cannot_be_audited_is_said(freehold_scene: Scene) -> None:
    async with freehold_scene.run(owner("postgres")):
        code, output, errors = await freehold(freehold_scene, "audit", "nothing")
        assert (code, output) == (1, "")
        assert "audited has no replica 'nothing'; there is: orders.customers" in errors

        code, _, errors = await freehold(freehold_scene, "audit", "customers")
        assert (code, "orders is not up here; these services are: users" in errors) == (1, True)
