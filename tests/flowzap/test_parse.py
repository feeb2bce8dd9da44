"""What texts mean, in the strict form and in the forms that real files have."""

from pathlib import Path

import pytest

from freehold.flowzap import Edge, Lane, Loop, Node, parse, parse_bytes, read
from freehold.flowzap.problem import apply

ROOT = Path(__file__).parents[2]
SEED = ROOT.parent / "shared" / "seed" / "database-per-service.fz"
OWN = sorted([*(ROOT / "systems").glob("*/system.fz"), *(ROOT / "docs" / "diagrams").glob("*.fz")])
# What only some readers want: a taskbox, a request without answer, an order that another would choose.
MATTERS_OF_TASTE = {"FZ210", "FZ402", "FZ403"}

STRICT = """Shop { # The shop
n1: circle label:"Order"
n2: circle label:"Done"
n1.handle(right) -> Store.n3.handle(left) [label="Items"]
}
Store { # Store
n3: rectangle label:"Pack"
n3.handle(top) -> Shop.n2.handle(bottom)
loop [more items] n1 n3
}
"""


def test_strict_text_gives_everything_that_it_says() -> None:
    graph = parse(STRICT).graph

    assert (Lane("Shop", "The shop"), Lane("Store", "Store")) == graph.lanes
    assert Node("n3", "Pack", "rectangle", "Store") == graph.node_by_id["n3"]
    assert Edge("n1", "n3", "Items", "right", "left") == graph.edges[0]
    assert (Loop("more items", ("n1", "n3")),) == graph.loops


def test_taskbox_keeps_its_own_attributes() -> None:
    graph = parse('A { # A\nn1: taskbox owner:"Ann" description:"Packs" system:"Store"\n}\n').graph

    assert Node("n1", "", "taskbox", "A", "Ann", "Packs", "Store") == graph.nodes[0]


@pytest.mark.parametrize(
    ("strict", "lenient", "code"),
    [
        ('n1: circle label:"Order"', 'n1: circle label="Order"', "FZ207"),
        ('[label="Items"]', '[label:"Items"]', "FZ312"),
        ('[label="Items"]', '[label = "Items"]', "FZ312"),
        ("Shop.n2.handle(bottom)", 'Shop.n2.handle(bottom) [label=""]', "FZ313"),
        ("{ # The shop", "{# The shop", "FZ109"),
        ("{ # Store", "{", "FZ107"),
        ("{ # The shop", "{\n# The shop", "FZ110"),
        ("n1.handle(right) ->", "Shop.n1.handle(right) ->", "FZ308"),
        ("Shop.n2.handle(bottom)", "Store.n2.handle(bottom)", "FZ307"),
        ("loop [more items] n1", "loop [more items] Shop.n1", "FZ507"),
    ],
)
def test_lenient_form_means_the_same_as_the_strict_one(strict: str, lenient: str, code: str) -> None:
    wanted = parse(STRICT)
    found = parse(STRICT.replace(strict, lenient), lenient=True)

    assert wanted.graph == found.graph
    assert [code] == [
        problem.code
        for problem in found.problems
        if (problem not in wanted.problems and problem.code[2] < "4") or problem.code == code
    ]
    assert not found.has_errors


@pytest.mark.parametrize("place", ["before the lanes", "in the other lane", "behind the lanes"])
def test_edge_in_another_place_belongs_to_its_sources_lane(place: str) -> None:
    edge = 'n1.handle(right) -> Store.n3.handle(left) [label="Items"]\n'
    rest = STRICT.replace(edge, "")
    texts = {
        "before the lanes": edge + rest,
        "in the other lane": rest.replace("n3.handle(top)", f"Shop.{edge}n3.handle(top)"),
        "behind the lanes": rest + edge,
    }
    found = parse(texts[place], lenient=True)

    assert parse(STRICT).graph == found.graph
    assert not found.has_errors


def test_whole_lane_on_one_line_is_read() -> None:
    found = parse(STRICT.replace("\n", " ").replace("} Store", "}\nStore"), lenient=True)

    assert parse(STRICT).graph == found.graph
    assert not found.has_errors


def test_any_line_end_parts_lines() -> None:
    for end in ("\r\n", "\r"):
        document = parse(STRICT.replace("\n", end))

        assert parse(STRICT).graph == document.graph
        assert STRICT.replace("\n", end) == str(document.tree)


def test_byte_order_mark_is_no_column() -> None:
    document = parse("\ufeff" + STRICT.replace("Shop {", "Shop{"))

    assert (document.problems[0].code, document.problems[0].line, document.problems[0].column) == ("FZ011", 1, 5)
    assert str(document.tree).startswith("\ufeff")


def test_column_points_at_the_mistake_behind_other_writing() -> None:
    text = 'A { # A\nn1: circle label:"שלום 你好" shade:"x"\n}\n'
    [problem] = [problem for problem in parse(text).problems if problem.code == "FZ205"]

    assert text.splitlines()[problem.line - 1][problem.column - 1 : problem.end_column - 1] == "shade"


@pytest.mark.parametrize(
    ("data", "code", "place"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", "FZ003", (1, 1)),
        ("Shop { # Shop\n".encode("utf-16"), "FZ003", (1, 1)),
        (b"Shop { # Shop\nn1\0", "FZ003", (2, 3)),
        (b"Shop { # Shop\n\xff", "FZ003", (2, 1)),
        (b"", "FZ001", (1, 1)),
        (b" \r\n\t", "FZ001", (1, 1)),
        (b"\r\n# nothing", "FZ111", (2, 1)),
        (b"x" * 10_000_000, "FZ002", (1, 1)),
    ],
)
def test_what_is_no_diagram_is_refused_with_one_reason(data: bytes, code: str, place: tuple[int, int]) -> None:
    document = parse_bytes(data)
    [problem] = document.problems

    assert (code, place) == (problem.code, (problem.line, problem.column))
    assert document.graph.nodes == ()


@pytest.mark.parametrize(
    ("wrong", "meant", "code"),
    [
        ("circel", "circle", "FZ201"),
        ("Diamond", "diamond", "FZ201"),
        ("rectangel", "rectangle", "FZ201"),
    ],
)
def test_did_you_mean_a_shape(wrong: str, meant: str, code: str) -> None:
    text = STRICT.replace("rectangle", wrong)
    [problem] = [problem for problem in parse(text).problems if problem.code == code]

    assert f"Did you mean {meant}?" == problem.help
    assert STRICT.replace("rectangle", meant) == apply(text, [problem.fix])


@pytest.mark.parametrize(
    ("right", "wrong", "meant"),
    [
        ("handle(right)", "handle(rigth)", "right"),
        ("handle(right)", "handle(Right)", "right"),
        ("Store.n3", "store.n3", "Store"),
        ("Store.n3", "Stroe.n3", "Store"),
        ("Store.n3", "Store.n33", "n3"),
        ("Store.n3", "Store.N3", "n3"),
        ("label:", "lable:", "label"),
        ("loop [", "Loop [", "loop"),
    ],
)
def test_did_you_mean(right: str, wrong: str, meant: str) -> None:
    errors = [problem for problem in parse(STRICT.replace(right, wrong, 1)).problems if problem.severity == "error"]

    assert len(errors) == 1
    assert f"Did you mean {meant}?" in errors[0].help


def test_fixes_make_of_many_mistakes_a_strict_text() -> None:
    text = (
        STRICT.replace("circle", "circel", 1)
        .replace("->", "-->", 1)
        .replace("Shop.n2", "n2")
        .replace("(top)", "(topp)")
    )
    fixed = apply(text, [problem.fix for problem in parse(text).problems])

    assert fixed == STRICT


@pytest.mark.skipif(not SEED.exists(), reason="the seed's file lies beside the repository, not in it")
def test_seeds_file_has_no_errors() -> None:
    document = read(SEED)

    assert (len(document.graph.lanes), len(document.graph.nodes), len(document.graph.edges)) == (4, 16, 17)
    assert not document.has_errors


@pytest.mark.parametrize("file", OWN, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_own_diagrams_are_clean(file: Path) -> None:
    codes = {problem.code for problem in read(file).problems if problem.severity != "info"}

    assert codes <= MATTERS_OF_TASTE
