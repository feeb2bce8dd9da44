"""Each file in `cases` gives exactly the problems in the text beside it.

After a change on purpose: `python -m tests.flowzap.test_cases` writes the texts; read the difference.
"""

from pathlib import Path

import pytest

from freehold.flowzap import Document, parse, read
from freehold.flowzap.report import describe, summary
from freehold.flowzap.rules import RULES

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.glob("*.fz"))
# Their texts would be the longest files of the repository.
UNWRITTEN = {"FZ002", "FZ013"}


def told(document: Document, name: str) -> str:
    return describe(document, name) + summary(document.problems) + "\n"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_case_is_told_word_for_word(file: Path) -> None:
    assert file.with_suffix(".txt").read_text() == told(read(file), file.name)


@pytest.mark.parametrize("code", sorted(RULES.keys() - UNWRITTEN))
def test_smallest_mistake_gives_its_own_problem_alone(code: str) -> None:
    document = read(CASES / f"{code}.fz")

    assert [code] == [problem.code for problem in document.problems]


@pytest.mark.parametrize("code", sorted(RULES.keys() - UNWRITTEN - {"FZ003"}))
def test_severity_follows_from_the_rule_and_the_reading(code: str) -> None:
    text = (CASES / f"{code}.fz").read_text()
    rule = RULES[code]

    assert [rule.severity] == [problem.severity for problem in parse(text).problems]
    assert [rule.lenient] == [problem.severity for problem in parse(text, lenient=True).problems]


def test_text_beyond_the_limit_is_refused_with_one_problem() -> None:
    [problem] = parse("n" * 50_001).problems

    assert (problem.code, problem.severity) == ("FZ002", "error")
    assert "50,000" in problem.message


def test_problems_beyond_a_thousand_are_counted() -> None:
    document = parse("Shop { # Shop\n" + "nonsense\n" * 1_500 + "}\n")

    assert len(document.problems) == 1_001
    assert (document.problems[-1].code, document.problems[-1].message) == ("FZ013", "There are 500 more problems")


def test_line_end_of_two_characters_counts_as_one() -> None:
    text = "\r\n" * 1_000 + "//" + "x" * 48_998

    assert "FZ002" not in [problem.code for problem in parse(text).problems]
    assert "FZ002" in [problem.code for problem in parse(text + "x").problems]


if __name__ == "__main__":
    for case in FILES:
        case.with_suffix(".txt").write_text(told(read(case), case.name))
