"""A machine without libcurl.so.4, made from this one in namespaces of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.runtime.embedded.mongo import find_mongod

PREPARE = """
import os, subprocess, sys
from pathlib import Path
from freehold.errors import MissingPartError
from freehold.runtime.embedded.mongo import find_mongod
from freehold.runtime.embedded.mongo_libraries import find_missing, prepare_libraries
print("lacks", find_missing(find_mongod(), dict(os.environ)))
try:
    environment = prepare_libraries(find_mongod(), Path(sys.argv[1]), lambda text: print("said", text))
except MissingPartError as error:
    print("missing", error)
else:
    version = subprocess.run([find_mongod(), "--version"], env=environment, capture_output=True, text=True).stdout
    print(version.splitlines()[0])
"""

# The folder that has the library is replaced by one of links to all that it holds, the library left out.
HIDE = """
set -e
for library in "$1"/*; do
    name=${library##*/}
    case $name in libcurl.so.4*) ;; *) ln -s "$2/original/$name" "$2/hidden/$name" ;; esac
done
mount --rbind "$1" "$2/original"
mount --rbind "$2/hidden" "$1"
test -z "$3" || mount -t tmpfs none "$3"
shift 3
exec "$@"
"""


def find_libcurl() -> Path | None:
    listed = subprocess.run(["ldd", str(find_mongod())], capture_output=True, text=True, check=False).stdout
    found = [line.split()[2] for line in listed.splitlines() if "libcurl.so.4 =>" in line and "not found" not in line]
    return Path(found[0]).resolve() if found else None


def prepare_without_libcurl(tmp_path: Path, without_package: Path | None = None) -> list[str]:
    libcurl = find_libcurl()
    if libcurl is None:
        pytest.skip("this machine has no libcurl.so.4 to hide: every other test here shows that MongoDB runs")
    for folder in ("original", "hidden"):
        (tmp_path / folder).mkdir()
    isolated = ["unshare", "--map-root-user", "--mount", "sh", "-c", HIDE, "sh", str(libcurl.parent), str(tmp_path)]
    # Without a path to apt-get, because root would install the library on the machine that the test runs on.
    command = [*isolated, str(without_package or ""), "/usr/bin/env", "PATH=/nowhere", sys.executable, "-c", PREPARE]
    done = subprocess.run(
        [*command, str(tmp_path / "links")],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_missing_libcurl_is_taken_from_the_package_that_carries_one(tmp_path: Path) -> None:
    assert prepare_without_libcurl(tmp_path) == ["lacks libcurl.so.4", "db version v6.0.5"]


def test_missing_libcurl_that_nothing_brings_is_named_with_its_package(tmp_path: Path) -> None:
    pycurl = pytest.importorskip("pycurl")
    lacks, said = prepare_without_libcurl(tmp_path, Path(pycurl.__file__).parent)

    assert lacks == "lacks libcurl.so.4"
    assert said.startswith("missing MongoDB needs the system's library libcurl.so.4")
    assert "apt-get install libcurl4" in said
