"""Describe operations as OpenAPI 3.1, whose schemas are JSON Schema 2020-12, which is what msgspec writes."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from freehold.http.operation import Operation
from freehold.http.problem import MEDIA_TYPE, Fault, phrase

_STYLE = (
    "body{font:1rem/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem}code,pre{font-size:.9em}"
    "pre{background:#f4f4f4;padding:.8rem;overflow:auto}h2 code{font-size:1em}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#eee}pre{background:#222}a{color:#9cf}}"
)
# What the edge reads and adds whatever the operation (freehold.http.read_your_writes). It is no parameter of each: who tries
# an operation out with a token made up learns only that it is none.
_READ_YOUR_WRITES = (
    "An answer to a request that changed something carries `Freehold-Written`. Any request that brings it back under the same name is "
    "answered with what was written then, or with 503 `not-yet-here` and how far it is. `Freehold-Wait` says how many seconds "
    "to wait at most."
)
_TOKEN_GIVEN = {
    "Freehold-Written": {
        "description": "Names what was changed; sent back, it lets later requests see it.",
        "schema": {"type": "string"},
    }
}
_PATH_NAME = re.compile(r"\{(\w+)\}")


class ProblemDetails(msgspec.Struct, kw_only=True):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: Annotated[int, msgspec.Meta(ge=400, le=599)]
    detail: str | msgspec.UnsetType = msgspec.UNSET
    instance: str
    trace_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    errors: list[Fault] | msgspec.UnsetType = msgspec.UNSET


def describe(title: str, version: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """Write the OpenAPI document of these operations."""
    types: list[Any] = [ProblemDetails]
    for operation in operations:
        types.extend(each for each in (operation.body, *operation.answers.values()) if each is not None)
        types.extend(parameter.type for parameter in operation.parameters)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    by_type = dict(zip((id(each) for each in types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _READ_YOUR_WRITES},
        "paths": paths,
        "components": {"schemas": components},
    }


def page(document: dict[str, Any]) -> str:
    """Write the description as one HTML page that needs no script and nothing from elsewhere."""
    title = html.escape(document["info"]["title"])
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style>",
        f'<h1>{title}</h1><p>The same for machines: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>{_section(operation)}")
    parts.append("<h1>Schemas</h1>")
    for name, schema in document["components"]["schemas"].items():
        shown = msgspec.json.format(msgspec.json.encode(schema)).decode()
        parts.append(f'<h2 id="{html.escape(name)}">{html.escape(name)}</h2><pre>{html.escape(shown)}</pre>')
    return "\n".join(parts)


def _operation(operation: Operation, schemas: dict[int, Any]) -> dict[str, Any]:
    problem = {"content": {MEDIA_TYPE: {"schema": schemas[id(ProblemDetails)]}}}
    answers: dict[str, Any] = {}
    for status, answered in operation.answers.items():
        answers[str(status)] = {"description": phrase(status)}
        if operation.method != "GET":
            answers[str(status)]["headers"] = _TOKEN_GIVEN
        if answered is not None:
            answers[str(status)]["content"] = {"application/json": {"schema": schemas[id(answered)]}}
    for status, when in operation.problems.items():
        answers[str(status)] = {"description": when, **problem}
    answers["default"] = {"description": "Any other error; 429 and 503 say when to try again.", **problem}
    described: dict[str, Any] = {
        "operationId": operation.id,
        "summary": operation.summary,
        "parameters": _parameters(operation, schemas),
        "responses": answers,
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schemas[id(operation.body)]}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _parameters(operation: Operation, schemas: dict[int, Any]) -> list[dict[str, Any]]:
    uuid = {"type": "string", "format": "uuid"}
    described: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": uuid} for name in _PATH_NAME.findall(operation.path)
    ]
    described += [
        {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            "description": parameter.description,
            "schema": schemas[id(parameter.type)],
        }
        for parameter in operation.parameters
    ]
    return described


def _section(operation: dict[str, Any]) -> str:
    rows = [f"<p>{html.escape(operation['summary'])}</p>"]
    if "requestBody" in operation:
        rows.append(f"<p>Body: {_schema(operation['requestBody']['content'])}</p>")
    for parameter in operation["parameters"]:
        text = html.escape(parameter.get("description", ""))
        rows.append(f"<p><code>{html.escape(parameter['name'])}</code> ({parameter['in']}) {text}</p>")
    for status, answer in operation["responses"].items():
        what = _schema(answer["content"]) if "content" in answer else ""
        rows.append(f"<p><code>{status}</code> {html.escape(answer['description'])} {what}</p>")
    return "\n".join(rows)


def _schema(content: dict[str, Any]) -> str:
    reference = next(iter(content.values()))["schema"].get("$ref", "")
    name = html.escape(reference.rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>' if name else ""
