"""Settings come from the environment, are checked, and never show a secret."""

import io
import json
import logging
from pathlib import Path

import pytest

from freehold.errors import ConfigurationError, DeclarationError
from freehold.gateway.forward import ANSWER_S
from freehold.http.cursor import derive_key
from freehold.runtime.load import load_part, load_service, load_system
from freehold.runtime.log import set_up_logs
from freehold.runtime.settings import COPIES_WAIT_S_MAX, VARIABLES, Settings, read_settings
from freehold.telemetry import enter_trace, leave_trace

STORE = "postgresql://users:hunter2@127.0.0.1:5432/users"
KAFKA = "kafka://users:hunter2@127.0.0.1:9092"


def test_settings_are_read_with_their_usual_values() -> None:
    settings = read_settings({"FREEHOLD_STORE_URL": STORE, "FREEHOLD_PORT": "8001"})

    assert (settings.store_url, settings.host, settings.port) == (STORE, "127.0.0.1", 8001)


def test_the_own_name_goes_before_the_alias() -> None:
    settings = read_settings({"DATABASE_URL": "postgresql://other@h/o", "FREEHOLD_STORE_URL": STORE, "PORT": "9"})

    assert (settings.store_url, settings.port) == (STORE, 9)
    assert {line.name: line.origin for line in settings.shown()}["FREEHOLD_PORT"] == "PORT"
    assert {line.name: line.origin for line in settings.shown()}["FREEHOLD_HOST"] == "default"


def test_bootstrap_servers_are_a_kafka_url() -> None:
    settings = read_settings({"KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:9093"})

    assert settings.kafka().servers == ("a:9092", "b:9093")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FREEHOLD_STORE_URL", "mysql://users:hunter2@h/d"),
        ("FREEHOLD_STORE_URL", "users:hunter2@h"),
        ("DATABASE_URL", "hunter2"),
        ("FREEHOLD_KAFKA_URL", "kafka://users:hunter2@h:99999"),
        ("FREEHOLD_PORT", "http"),
        ("FREEHOLD_PORT", "65536"),
        ("PORT", "-1"),
        ("FREEHOLD_INSTANCE", "a b"),
        ("FREEHOLD_NAMESPACE", "A-B"),
        ("LOG_LEVEL", "loud"),
        ("FREEHOLD_CURSOR_KEY", "hunter2"),
        ("FREEHOLD_BODY_BYTES_MAX", "1"),
        ("FREEHOLD_ANSWER_S_MAX", "nan"),
        ("FREEHOLD_COPIES_WAIT_S", "9"),
        ("FREEHOLD_UPSTREAM_USERS", "ftp://h"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_says_what_is_taken(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings({name: value})

    assert str(refused.value).startswith(f"{name} takes ")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__context__ is None or "hunter2" not in repr(refused.value.__cause__)


def test_service_has_time_to_say_that_copies_are_behind() -> None:
    """The figures are those of the guide."""
    assert Settings().copies_wait_s == 2 < COPIES_WAIT_S_MAX == 8 < ANSWER_S == 10


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="FREEHOLD_STORE_URL is not set"):
        Settings().required("store_url")


def test_a_misspelt_setting_is_noticed() -> None:
    settings = read_settings(
        {"FREEHOLD_STORE": STORE, "FREEHOLD_UPSTREAM_USERS": "http://h", "FREEHOLD_MONGO_URL": "x"}
    )

    assert settings.unknown == ("FREEHOLD_STORE",)


def test_no_secret_is_shown() -> None:
    settings = read_settings(
        {"FREEHOLD_STORE_URL": STORE, "FREEHOLD_KAFKA_URL": KAFKA, "FREEHOLD_CURSOR_KEY": "hunter2 hunter2 hunter2"}
    )

    assert "hunter2" not in repr(settings) + repr(settings.shown())
    assert "users:***@127.0.0.1:5432" in repr(settings)


def test_upstreams_are_read_by_service() -> None:
    assert read_settings({"FREEHOLD_UPSTREAM_USERS": "http://h:1/"}).upstreams == {"users": "http://h:1"}


def test_instances_on_one_store_sign_cursors_alike_and_others_do_not() -> None:
    one, other = Settings(store_url=STORE, port=1), Settings(store_url=STORE, port=2)

    assert one.cursor_key() == other.cursor_key()
    assert one.cursor_key() != Settings(store_url=STORE.replace("hunter2", "hunter3")).cursor_key()
    assert Settings(store_url=STORE, cursor_secret="x").cursor_key() == derive_key("x")


def test_a_namespace_stands_before_names_that_servers_share() -> None:
    assert Settings(namespace="t1").qualified("users") == "t1_users"
    assert Settings().qualified("users") == "users"


def test_the_table_of_settings_is_whole() -> None:
    table = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text()
    names = [name for variable in VARIABLES for name in (variable.name, *variable.aliases)]

    assert [name for name in names if f"`{name}`" not in table] == []


def test_each_setting_says_what_it_takes() -> None:
    assert [variable.name for variable in VARIABLES if not variable.takes] == []
    assert {variable.field for variable in VARIABLES} <= set(Settings.__dataclass_fields__)


def test_a_log_line_is_json_with_its_trace_and_without_secrets() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    passage = enter_trace(None, "test", None)  # type: ignore[arg-type]
    try:
        set_up_logs(service="users", level="info", stream=stream)
        logging.getLogger("x").warning("lost %s", STORE, extra={"partition": 3, "api_key": "k"})
        try:
            int(f"at {STORE} with Authorization: Bearer abcdefghijklm")
        except ValueError:
            logging.getLogger("x").exception("failed")
    finally:
        leave_trace(passage)
        root.handlers[:] = before
        root.setLevel(level)

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["event"], first["partition"], first["api_key"]) == (
        "lost postgresql://users:***@127.0.0.1:5432/users",
        3,
        "***",
    )
    assert (first["level"], first["service"], first["trace_id"]) == ("warning", "users", passage.trace_id)
    assert "ValueError" in second["exception"]
    assert "hunter2" not in stream.getvalue()
    assert "abcdefghijklm" not in stream.getvalue()


def test_a_system_is_loaded_from_its_folder_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shop_for_load"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "system.py").write_text(
        "from freehold import Postgres, Service, System\n"
        "async def app(scope, receive, send): ...\n"
        "one = Service(name='one', store=Postgres(), app=app)\n"
        "two = Service(name='two', store=Postgres(), app=app)\n"
        "system = System(name='shop', services=[one, two])\n"
        "number = 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    assert load_system(str(folder)).name == "shop"
    assert load_service("shop_for_load.system:one").name == "one"
    assert load_service(str(folder), "two").name == "two"
    with pytest.raises(DeclarationError, match="one, two"):
        load_service(str(folder))
    with pytest.raises(DeclarationError, match="no service 'three'"):
        load_service(str(folder), "three")
    with pytest.raises(DeclarationError, match="holds a int"):
        load_system("shop_for_load.system:number")
    with pytest.raises(DeclarationError, match="has no 'none'"):
        load_system("shop_for_load.system:none")


def test_a_part_is_loaded_without_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two", "door"):
        folder = tmp_path / "parted" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("")
    (tmp_path / "parted" / "__init__.py").write_text("")
    (tmp_path / "parted" / "one" / "service.py").write_text(
        "from freehold import Postgres, Service\n"
        "async def app(scope, receive, send): ...\n"
        "one = Service(name='one', store=Postgres(), app=app)\n"
    )
    (tmp_path / "parted" / "two" / "service.py").write_text("raise RuntimeError('two was imported')\n")
    (tmp_path / "parted" / "door" / "gateway.py").write_text("class door:\n    name = 'door'\n")
    (tmp_path / "parted" / "system.py").write_text(
        "from freehold import System\nfrom parted.one.service import one\nsystem = System(name='s', services=[one])\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    source = str(tmp_path / "parted")

    assert load_part(source, "one").name == "one"
    assert load_part(source, "door").name == "door"
    assert load_part("parted.system:system", "one").name == "one"
    with pytest.raises(DeclarationError, match="two was imported"):
        load_part(source, "two")
    with pytest.raises(DeclarationError, match="no service 'three'"):
        load_part(source, "three")


def test_what_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no .*system\.py"):
        load_system(str(tmp_path))
    with pytest.raises(ConfigurationError, match="no module 'nowhere'"):
        load_system("nowhere.system:system")


def test_a_system_that_cannot_be_imported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_for_load.py").write_text("import no_such_library\n")
    (tmp_path / "wrong_for_load.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ConfigurationError, match="imports 'no_such_library', which is not installed"):
        load_system("broken_for_load:system")
    with pytest.raises(DeclarationError, match="ZeroDivisionError"):
        load_system("wrong_for_load:system")
