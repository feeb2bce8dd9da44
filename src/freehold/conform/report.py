"""The drawing with the result on it, and the report as one HTML page that needs nothing else and runs nothing.

Every text in it is a stranger's (a diagram's labels, paths, tables): all of it is escaped, and the page forbids scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from freehold.conform.verdict import Sight, Verdict
from freehold.errors import ConfigurationError
from freehold.flowzap import Graph
from freehold.flowzap.overlay import Mark, Overlay
from freehold.flowzap.overlay import Undeclared as DrawnUndeclared
from freehold.flowzap.svg.draw import TooLargeToDrawError, draw

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p class="{verdict}">{summary}</p>
{sections}
</body>
</html>
"""


def draw_verdict(verdict: Verdict, graph: Graph) -> str:
    """Draw the diagram with what was seen of it, as SVG.

    Raises:
        ConfigurationError: It is too large for a drawing.
    """
    try:
        return draw(graph, view="workflow", theme="light", overlay=overlay_of(verdict, graph))
    except TooLargeToDrawError as error:
        raise ConfigurationError(f"{verdict.diagram}: {error}") from error


def overlay_of(verdict: Verdict, graph: Graph) -> Overlay:
    """Write the result as marks on the drawing."""
    nodes = {node.id: _mark(node) for node in verdict.nodes}
    edges = {index: _mark(edge) for index, edge in enumerate(verdict.edges)}
    beyond = [
        DrawnUndeclared(found.source_lane, found.target_lane, f"{found.what}, {found.count}x")
        for found in verdict.undeclared
        if found.source_lane and found.target_lane
    ]
    return Overlay(nodes=nodes, edges=edges, undeclared=tuple(beyond))


def write_html(verdict: Verdict, graph: Graph) -> str:
    """Write the whole report as one page."""
    title = f"{verdict.system}: {verdict.diagram} held against the running system"
    sections = [
        _list("Undeclared", [found.line() for found in verdict.undeclared]),
        _list("Never seen", _never(verdict)),
        _figure(verdict, graph),
        _nodes(verdict),
        _edges(verdict),
        _list("Loops", [f"[{x.condition}]: {x.rounds} rounds in {x.count} traces" for x in verdict.loops]),
        _list("Out of order", [f"{x.what} ({x.count}x, trace {x.trace})" for x in verdict.deviations]),
        _list("Not bound", verdict.problems),
        _list("Scenarios", [f"{x.name} {x.problem or 'Came to its end.'}" for x in verdict.scenarios]),
    ]
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return PAGE.format(
        title=escape(title),
        style=style,
        verdict="holds" if verdict.holds else "fails",
        summary=escape(verdict.summary()),
        sections="\n".join(filter(None, sections)),
    )


def _figure(verdict: Verdict, graph: Graph) -> str:
    try:
        return f"<figure>{draw_verdict(verdict, graph)}</figure>"
    except ConfigurationError as error:
        return f"<p>{escape(str(error))}</p>"


def _never(verdict: Verdict) -> list[str]:
    labels = {node.id: node.label or node.id for node in verdict.nodes}
    nodes = [f"{node.lane} / {labels[node.id]}" for node in verdict.nodes if not node.seen]
    edges = [
        f"{labels[edge.source]} -> {labels[edge.target]}{f' [{edge.label}]' if edge.label else ''}"
        for edge in verdict.edges
        if not edge.seen
    ]
    return nodes + edges


def _mark(sight: Sight) -> Mark:
    if not sight.seen:
        return Mark("unseen")
    times = (
        ""
        if sight.p50_ms is None or sight.p99_ms is None
        else f", p50\u00a0{sight.p50_ms:.1f}\u00a0ms, p99\u00a0{sight.p99_ms:.1f}\u00a0ms"
    )
    return Mark("seen", f"{sight.count}x{times}")


def _nodes(verdict: Verdict) -> str:
    rows = [(node, [node.lane, node.label, node.bound_to]) for node in verdict.nodes]
    return _table("Nodes", ("lane", "node", "taken for"), rows)


def _edges(verdict: Verdict) -> str:
    labels = {node.id: node.label or node.id for node in verdict.nodes}
    rows = [(edge, [labels[edge.source], labels[edge.target], edge.label]) for edge in verdict.edges]
    return _table("Edges", ("from", "to", "label"), rows)


def _table(title: str, columns: Sequence[str], rows: Iterable[tuple[Sight, Sequence[str]]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in (*columns, "times", "p50 ms", "p99 ms", "an example's trace"))
    lines = []
    for sight, cells in rows:
        seen = [str(sight.count), _number(sight.p50_ms), _number(sight.p99_ms), sight.trace or "never seen"]
        data = "".join(f"<td>{escape(each)}</td>" for each in (*cells, *seen))
        lines.append(f'<tr class="{"seen" if sight.seen else "unseen"}">{data}</tr>')
    return f"<h2>{escape(title)}</h2>\n<table><thead><tr>{head}</tr></thead>\n<tbody>{''.join(lines)}</tbody></table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _list(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<h2>{escape(title)}</h2>\n<ul class="{escape(title.lower().replace(" ", "-"))}">{items}</ul>'
