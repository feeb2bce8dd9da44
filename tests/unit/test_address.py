import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import ConfigurationError
from freehold.topic.address import KafkaAddress


def test_url_with_user_means_sasl_with_scram() -> None:
    config = KafkaAddress.parse("kafka://users:s%40cret@127.0.0.1:9092").client_config()

    assert config == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "users",
        "sasl.password": "s@cret",
    }


def test_url_without_user_means_plain_text() -> None:
    config = KafkaAddress.parse("kafka://broker-1,[::1]:9093").client_config()

    assert config == {"bootstrap.servers": "broker-1:9092,[::1]:9093", "security.protocol": "PLAINTEXT"}


def test_options_choose_security_and_mechanism() -> None:
    address = KafkaAddress.parse("kafka://u:p@host:1?security=SASL_SSL&mechanism=SCRAM-SHA-512")

    assert (address.security, address.mechanism) == ("SASL_SSL", "SCRAM-SHA-512")


@given(st.text(min_size=1).filter(str.strip), st.text())
def test_any_user_and_password_survive_the_url(user: str, password: str) -> None:
    address = KafkaAddress(("host:9092",), user, password, "SASL_PLAINTEXT")

    assert KafkaAddress.parse(address.format()) == address


def test_line_end_of_a_secrets_file_is_no_part_of_the_url() -> None:
    assert KafkaAddress.parse("kafka://host?security=SSL\n") == KafkaAddress.parse("kafka://host?security=SSL")


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://u:hunter2@host", "kafka://"),
        ("kafka://u:hunter2@", "host"),
        ("kafka://u:hunter2@host:0", "host"),
        ("kafka://u:hunter2@host:99999", "port"),
        ("kafka://u:hunter2@host:x", "port"),
        ("kafka://hunter2@host", "user:password"),
        ("kafka://:hunter2@host", "user:password"),
        ("kafka://u:hunter2/@host", "percent-encode"),
        ("kafka://u:hunter2@host/topic", "percent-encode"),
        ("kafka://u:hunter2@[host", "cannot be read"),
        ("kafka://u:hunter2@host?securty=SSL", "securty"),
        ("kafka://u:hunter2@host?security=NONE", "security"),
        ("kafka://u:hunter2@host?mechanism=GSSAPI", "mechanism"),
        ("kafka://u:hunter2@host?mechanism=PLAIN&mechanism=hunter2", "mechanism"),
    ],
)
def test_bad_url_names_the_part_and_not_the_password(url: str, part: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KafkaAddress.parse(url)

    assert part in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_password_is_not_shown() -> None:
    assert "hunter2" not in repr(KafkaAddress.parse("kafka://u:hunter2@host"))
