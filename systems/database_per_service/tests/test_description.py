"""Each service is as its own description says, whatever is asked: Schemathesis against the running service."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from systems.database_per_service.tests.shop import Shop

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SEED = 20_251_122
EXAMPLES = 25
# Of generated tests, for each service.
BUDGET_S = 15


@pytest.mark.parametrize("target", ["users", "orders"])
async def test_service_is_as_it_says(shop: Shop, target: str, tmp_path: Path) -> None:
    """No 5xx, no answer that is not described, nothing bad accepted, nothing there after it was deleted."""
    user = await shop.make_customer()
    await shop.order(user["id"])

    code, output = await run_schemathesis(
        getattr(shop, target).url,
        tmp_path,
        f"--seed={SEED}",
        f"--max-examples={EXAMPLES}",
        f"--max-time={BUDGET_S}",
        "--checks=all",
        # It cannot make up a signed cursor or an ETag that holds, and takes 1.0 for a whole number.
        "--exclude-checks=positive_data_acceptance",
    )

    assert code == 0, output


async def test_answer_that_is_not_described_would_be_found(shop: Shop, tmp_path: Path) -> None:
    """The control: held against another description, the same service fails."""
    description = (await shop.orders.client.get("/openapi.json")).json()
    description["components"]["schemas"]["OrderPage"]["properties"]["items"] = {"type": "string"}
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(description))

    code, output = await run_schemathesis(
        shop.orders.url, tmp_path, "--include-operation-id=listOrders", "--phases=coverage", description=file
    )

    assert code == 1
    assert "is not of type" in output


async def test_operations_have_stable_names(shop: Shop) -> None:
    named: dict[str, str] = {}
    for service in (shop.users, shop.orders):
        paths = (await service.client.get("/openapi.json")).json()["paths"]
        named |= {
            operation["operationId"]: f"{method} {path}"
            for path, methods in paths.items()
            for method, operation in methods.items()
        }

    assert named == {
        "createUser": "post /users",
        "listUsers": "get /users",
        "readUser": "get /users/{id}",
        "changeUser": "put /users/{id}",
        "deleteUser": "delete /users/{id}",
        "placeOrder": "post /orders",
        "listOrders": "get /orders",
        "readOrder": "get /orders/{id}",
        "moveOrder": "patch /orders/{id}",
    }


async def run_schemathesis(
    url: str, directory: Path, *options: str, description: Path | None = None
) -> tuple[int, str]:
    command: list[Any] = [
        Path(sys.executable).with_name("st"),
        "run",
        description or f"{url}/openapi.json",
        f"--url={url}",
        "--request-timeout=10",
        "--generation-database=none",
        "--no-color",
        *options,
    ]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=directory, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()
