"""What an author declares becomes what readers were promised, or is refused with the mend in the message."""

import uuid

import pytest

from freehold.errors import DeclarationError, PublishError
from freehold.event import EVENT_BYTES_MAX, Event, Place, encode_data, envelope_for, event_key
from freehold.outbox.outgoing import Outgoing, decode_headers


class UserUpdated(Event, entity="user"):
    id: str
    name: str


class AccountClosed(Event, entity="account", key="number", schema=3, erases=True):
    number: str


def test_event_takes_its_declared_fields_from_the_row() -> None:
    user_id = uuid.uuid4()

    event = UserUpdated.of({"id": user_id, "name": "Ada", "password_hash": "secret", "version": 3})

    assert event == UserUpdated(id=str(user_id), name="Ada")
    assert b"secret" not in encode_data(event)


def test_document_id_is_the_key_of_an_event() -> None:
    assert UserUpdated.of({"_id": "42", "name": "Ada"}) == UserUpdated(id="42", name="Ada")


def test_class_keywords_say_what_the_event_is_about() -> None:
    closed = AccountClosed(number="7")

    assert (closed.__entity__, closed.__schema__, closed.__erases__) == ("account", 3, True)
    assert event_key(closed) == "account/7"


def test_form_number_is_not_inherited() -> None:
    class AccountClosedAgain(AccountClosed):
        pass

    assert AccountClosedAgain.__schema__ == 1


def test_event_is_immutable() -> None:
    event = UserUpdated(id="1", name="Ada")

    with pytest.raises(AttributeError):
        event.name = "Eve"


def test_key_that_is_no_field_is_refused_at_declaration() -> None:
    with pytest.raises(DeclarationError, match="key field 'number' is not among its fields"):

        class Broken(Event, entity="account", key="number"):
            name: str


@pytest.mark.parametrize("row", [{"id": "1"}, {"id": "1", "name": 7}, {"id": None, "name": "Ada"}])
def test_row_that_does_not_fit_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(PublishError, match="UserUpdated cannot be made from this row"):
        UserUpdated.of(row)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_version_that_is_no_whole_number_from_one_is_refused(version: object) -> None:
    with pytest.raises(PublishError, match="not a whole number from 1"):
        envelope_for("users", UserUpdated(id="1", name="Ada"), Place(1, version, 0), None)  # type: ignore[arg-type]


def test_entity_without_an_id_is_refused() -> None:
    with pytest.raises(PublishError, match="key field 'id' is empty"):
        envelope_for("users", UserUpdated(id="", name="Ada"), Place(1, 1, 0), None)


def test_event_that_no_topic_takes_is_refused_at_publish() -> None:
    fits = UserUpdated(id="1", name="x" * (EVENT_BYTES_MAX - 100))
    too_large = UserUpdated(id="1", name="x" * EVENT_BYTES_MAX)

    assert len(encode_data(fits)) <= EVENT_BYTES_MAX
    with pytest.raises(PublishError, match="publish a reference"):
        encode_data(too_large)


def test_places_are_ordered_by_epoch_then_version_then_index() -> None:
    places = [Place(2, 1, 0), Place(1, 9, 1), Place(1, 10, 0), Place(1, 9, 0)]

    assert sorted(places) == [Place(1, 9, 0), Place(1, 9, 1), Place(1, 10, 0), Place(2, 1, 0)]


def test_outgoing_row_holds_all_that_will_be_sent() -> None:
    outgoing = Outgoing("users", 1, frozenset({UserUpdated}))

    outgoing.add(UserUpdated, {"id": "42", "name": "Ada", "version": 7})
    outgoing.add(UserUpdated, {"id": "43", "name": "Eve", "version": 1})

    first, second = outgoing.rows
    headers = dict(decode_headers(first.headers))
    assert (first.key, first.version, first.index, first.type) == ("user/42", 7, 0, "users.UserUpdated")
    assert (second.key, second.version, second.index) == ("user/43", 1, 1)
    assert headers["ce_id"] == b"user/42:1.7.0"
    assert headers["ce_dataschema"] == b"urn:freehold:users.UserUpdated:1"
    assert first.data == b'{"id":"42","name":"Ada"}'


def test_undeclared_event_is_refused_at_publish() -> None:
    outgoing = Outgoing("users", 1, frozenset({UserUpdated}))

    with pytest.raises(PublishError, match="users does not declare AccountClosed"):
        outgoing.add(AccountClosed, {"number": "7", "version": 1})


def test_row_without_a_version_is_refused_at_publish() -> None:
    outgoing = Outgoing("users", 1, frozenset({UserUpdated}))

    with pytest.raises(PublishError, match="the row has no 'version'"):
        outgoing.add(UserUpdated, {"id": "42", "name": "Ada"})


def test_key_that_would_not_fit_the_topic_is_refused_at_publish() -> None:
    with pytest.raises(PublishError, match=r"its key has 1,005 bytes; use at most 1,000"):
        envelope_for("users", UserUpdated(id="x" * 1_000, name="Ada"), Place(1, 1, 0), None)
