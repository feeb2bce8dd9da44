"""The report is one page that needs nothing else, and no label of a stranger's runs anything in it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from freehold.conform.binding import bind
from freehold.conform.report import draw_verdict, overlay_of, write_html
from freehold.conform.verdict import Verdict
from freehold.errors import ConfigurationError
from freehold.flowzap import Graph, Lane, Node, parse
from tests.conform.seen import LANDSCAPE, Recorder, bound, judged
from tests.conform.test_replay import BRANCHES, put

CHROMIUM = shutil.which("chromium")
OWNED = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"
HOSTILE = BRANCHES.replace('label:"Still there?"', f'label:"Still {OWNED}?"').replace(
    "# Users", "# Users </title></style><script>document.title='owned'</script>"
)


def bind_to(graph: Graph) -> Verdict:
    recorder = Recorder()
    inside = recorder.request(
        "users", "GET /<b>{id}", recorder.call("gateway", "users", recorder.request("gateway", "GET /x"))
    )
    recorder.statement("users", "find", "<i>orders", inside, owner="orders")
    binding = bind(graph, LANDSCAPE, {"Gateway": "gateway", "Users": "service users"}, is_own=False)
    return judged([*put(200), *recorder.ended()], binding)


@pytest.fixture
def hostile() -> tuple[Verdict, Graph]:
    graph = parse(HOSTILE).graph
    return bind_to(graph), graph


def test_drawing_marks_what_was_seen_and_what_was_not() -> None:
    graph = parse(BRANCHES).graph
    verdict = judged(put(200), bound(BRANCHES))
    marks = overlay_of(verdict, graph)

    assert (marks.nodes["n6"].state, marks.nodes["n7"].state) == ("seen", "unseen")
    assert marks.nodes["n6"].caption.startswith("1x, p50\u00a0")
    assert [marks.edges[index].state for index, edge in enumerate(graph.edges) if edge.label == "No"] == ["unseen"]


def test_what_is_undeclared_is_drawn_between_its_lanes() -> None:
    recorder = Recorder()
    inside = recorder.request("orders", "GET /orders")
    recorder.statement("orders", "SELECT", "users", inside, owner="users")
    text = BRANCHES + 'Orders { # Orders\nn8: rectangle label:"Handle orders"\n}\n'
    graph = parse(text).graph
    verdict = judged(recorder.ended(), bound(text))

    assert [(found.source, found.target) for found in overlay_of(verdict, graph).undeclared] == [("Orders", "Users")]


def test_page_needs_nothing_else_and_has_all(hostile: tuple[Verdict, Graph]) -> None:
    page = write_html(*hostile)

    assert "<svg" in page
    assert "users -&gt; the store of orders: find &lt;i&gt;orders" in page
    assert "default-src 'none'" in page
    assert not [
        word for word in ("http://", "https://", "<link", "url(") if word in page.replace("http://www.w3.org/", "")
    ]
    assert "<script" not in page
    assert "<img" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_hostile_label_runs_nothing_in_a_browser(hostile: tuple[Verdict, Graph], tmp_path: Path) -> None:
    assert CHROMIUM is not None
    for name, text in (("report.html", write_html(*hostile)), ("drawing.svg", draw_verdict(*hostile))):
        file = tmp_path / name
        file.write_text(text)
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
        done = subprocess.run(
            [*command, "--virtual-time-budget=2000", "--dump-dom", file.as_uri()],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

        assert "owned" in done.stdout  # the label is there, as text
        assert "<title>owned" not in done.stdout


def test_diagram_that_is_too_large_to_draw_is_still_reported() -> None:
    many = tuple(Node(f"n{number}", "Handle", "rectangle", "Users") for number in range(1, 1_600))
    graph = Graph(lanes=(Lane("Users", "Users"),), nodes=many)
    verdict = bind_to(graph)

    with pytest.raises(ConfigurationError, match="split the diagram"):
        draw_verdict(verdict, graph)
    assert "split the diagram" in write_html(verdict, graph)
