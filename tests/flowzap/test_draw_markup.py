"""What is written: well-formed, harmless, whole, the same each time."""

import re
import subprocess
import sys
import unicodedata
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from freehold.flowzap.graph import Graph, Lane, Loop, Node
from freehold.flowzap.overlay import Mark, Overlay, Undeclared
from freehold.flowzap.svg.draw import View, draw
from freehold.flowzap.svg.theme import THEMES, ThemeName
from tests.flowzap.drawings import FILES, VIEWS, chain, edge, graph_in

SVG = "{http://www.w3.org/2000/svg}"
CHROMIUM = next((path for path in map(Path, ("/usr/bin/chromium", "/usr/bin/google-chrome")) if path.exists()), None)
HOSTILE = (
    "<script>document.title='ran'</script>",
    '"><image href=x onerror="document.title=\'ran\'">',
    "</title></text></svg><script>document.title='ran'</script>",
    "' onload='document.title=1",
    "]]><!--",
    "&lt;script&gt; &amp;amp; &#60;script&#62;",
    "null\x00 bell\x07 delete\x7f half \ud800 none \ufffe \U0001ffff",
    "left \u202eright to left override\u202c \u2066isolated\u2069",
    "{{constructor}} ${7*7} javascript:alert(1)",
)
PLAIN_ELEMENTS = {"svg", "g", "title", "rect", "path", "circle", "line", "text", "tspan"}


def hostile_graph(text: str) -> Graph:
    """Give a diagram that says it everywhere."""
    nodes = (
        Node("n1", text, "circle", "A"),
        Node("n2", text, "diamond", "A"),
        Node("n3", text, "taskbox", "B", owner=text, description=text, system=text),
    )
    edges = (edge("n1", "n2", label=text), edge("n2", "n3", ("bottom", "top"), text))
    return Graph((Lane("A", text), Lane("B", text)), nodes, edges, (Loop(text, ("n1", "n2")),))


def hostile_overlay(text: str) -> Overlay:
    return Overlay({"n1": Mark("seen", text)}, {0: Mark("unseen", text)}, (Undeclared("A", "B", text),))


def elements(text: str) -> list[ET.Element]:
    return list(ET.fromstring(text).iter())  # noqa: S314  our own output


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_label_is_text_and_nothing_else(text: str, view: View) -> None:
    drawn = draw(hostile_graph(text), view=view, overlay=hostile_overlay(text))
    found = elements(drawn)

    assert {element.tag.removeprefix(SVG) for element in found} <= PLAIN_ELEMENTS
    assert [name for element in found for name in element.attrib if name.startswith("on") or "href" in name] == []
    assert [letter for letter in drawn if unicodedata.category(letter) in {"Cc", "Cs", "Cn"} and letter != "\n"] == []
    assert [letter for letter in drawn if letter in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"] == []


@pytest.mark.skipif(CHROMIUM is None, reason="this machine has no Chromium")
def test_hostile_labels_run_nothing_in_a_browser(tmp_path: Path) -> None:
    pictures = [draw(hostile_graph(t), view=view, overlay=hostile_overlay(t)) for t in HOSTILE for view in VIEWS]
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><meta charset=utf-8><title>quiet</title>" + "".join(pictures))
    assert CHROMIUM is not None
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    ran = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )

    assert "<title>quiet</title>" in ran.stdout
    assert ran.stdout.count("<svg") == len(pictures)
    assert "<script" not in ran.stdout
    assert 'onerror="' not in re.sub(r">[^<]*<", "><", ran.stdout)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_picture_is_one_well_formed_document_that_needs_nothing_else(path: Path, theme: ThemeName, view: View) -> None:
    drawn = draw(graph_in(path), view=view, theme=theme)
    root = ET.fromstring(drawn)  # noqa: S314  our own output

    assert root.attrib["viewBox"] == f"0 0 {root.attrib['width']} {root.attrib['height']}"
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= PLAIN_ELEMENTS
    assert re.findall(r"\bNaN\b|\binf\b|e[-+]\d\d", drawn) == []
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_label_is_whole_in_a_title_and_is_text(path: Path) -> None:
    graph = graph_in(path)
    root = ET.fromstring(draw(graph))  # noqa: S314  our own output
    titles = "\n".join(element.text or "" for element in root.iter(f"{SVG}title"))
    texts = " ".join("".join(element.itertext()) for element in root.iter(f"{SVG}text"))

    wanted = [node.label for node in graph.nodes] + [edge.label for edge in graph.edges]
    wanted += [lane.name for lane in graph.lanes]
    assert [label for label in wanted if label not in titles] == []
    assert [label for label in wanted if " ".join(label.split()) not in texts and len(label) < 60] == []


def test_same_diagram_gives_the_same_bytes_in_another_process() -> None:
    path = next(path for path in FILES if path.stem == "clinic-visit")
    program = (
        "import sys, hashlib, pathlib\n"
        "from freehold.flowzap import parse\n"
        "from freehold.flowzap.svg.draw import draw\n"
        "graph = parse(pathlib.Path(sys.argv[1]).read_text()).graph\n"
        "drawn = ''.join(draw(graph, view=view) for view in ('workflow', 'sequence', 'architecture'))\n"
        "print(hashlib.sha256(drawn.encode()).hexdigest())\n"
    )
    sums = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(sums) == 1


def test_long_label_is_cut_in_the_picture_and_whole_in_the_title() -> None:
    label = "a very long label " * 60
    drawn = draw(chain("Start", label.strip(), "End"))

    assert label.strip() in drawn
    assert "…" in drawn


def test_themes_differ_in_colours_alone() -> None:
    graph = graph_in(FILES[0])
    light, dark = (re.sub(r"#[0-9a-f]{6}", "#", draw(graph, theme=theme)) for theme in ("light", "dark"))

    assert light == dark
    assert draw(graph, theme="light") != draw(graph, theme="dark")


@pytest.mark.parametrize("theme", THEMES)
def test_text_stands_out_from_what_it_is_written_on(theme: ThemeName) -> None:
    """The contrast that WCAG asks of small text."""
    colours = THEMES[theme]
    grounds = [colours.page, colours.node]
    for lane in range(len(colours.hues)):
        grounds += [
            colours.tint(lane, colours.band_share),
            colours.tint(lane, colours.header_share),
            colours.tint(lane, colours.start_share, colours.node),
            colours.tint(lane, colours.decision_share, colours.node),
        ]
    weak = [
        (ink, ground)
        for ink in (colours.ink, colours.soft_ink)
        for ground in grounds
        if contrast(ink, ground) < (4.5 if ink == colours.ink else 4.0)
    ]

    assert weak == []


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
