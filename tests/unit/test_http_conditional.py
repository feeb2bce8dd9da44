"""ETags and preconditions as RFC 9110 has them."""

import pytest

from freehold.http.conditional import expected_versions, is_unchanged, make_etag, parse_tags, precondition
from freehold.http.problem import Problem


def test_etag_is_strong_and_has_each_part() -> None:
    assert make_etag(7) == '"7"'
    assert make_etag(7, 1, 3) == '"7.1.3"'


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        ('"7"', [(False, "7")]),
        (' "7" , W/"8",""', [(False, "7"), (True, "8"), (False, "")]),
        ("*", None),
    ],
)
def test_tags_are_read(header: str, tags: list[tuple[bool, str]] | None) -> None:
    assert parse_tags(header) == tags


@pytest.mark.parametrize(
    "header", ["", "7", '"7', '"7" "8"', 'w/"7"', '"a b"', '"7";q=1', "*, *", '"' + "7" * 5_000 + '"']
)
def test_malformed_tags_are_refused(header: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_tags(header)

    assert refused.value.status == 400


@pytest.mark.parametrize("if_match", [None, "*", '"7"', '"6", "7"'])
def test_a_change_passes_on_what_the_client_saw(if_match: str | None) -> None:
    precondition(if_match, '"7"')


@pytest.mark.parametrize("if_match", ['"6"', 'W/"7"', '"77"', '"7.1"'])
def test_a_change_of_something_else_is_refused_with_the_current_etag(if_match: str) -> None:
    with pytest.raises(Problem) as refused:
        precondition(if_match, '"7"')

    assert refused.value.status == 412
    assert refused.value.headers == {"ETag": '"7"'}


def test_nothing_matches_what_is_not_there() -> None:
    with pytest.raises(Problem) as refused:
        precondition("*", None)

    assert refused.value.status == 412


def test_only_the_own_part_counts_for_a_change_and_all_parts_for_a_read() -> None:
    precondition('"7.1.3"', '"7.1.4"', own_parts=1)

    assert not is_unchanged('"7.1.3"', '"7.1.4"')
    assert is_unchanged('"7.1.4"', '"7.1.4"')


def test_a_weak_tag_matches_a_read() -> None:
    assert is_unchanged('W/"7"', '"7"')
    assert is_unchanged("*", '"7"')
    assert not is_unchanged(None, '"7"')


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        ('"7"', [7]),
        ('"7.1.3", "8"', [7, 8]),
        ('W/"7"', []),
        ('"seven"', []),
        ('"' + "9" * 40 + '"', []),
    ],
)
def test_versions_that_a_change_allows(header: str | None, versions: list[int] | None) -> None:
    assert expected_versions(header) == versions
