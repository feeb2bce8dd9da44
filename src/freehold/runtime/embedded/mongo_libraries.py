"""The shared libraries that mongod takes from the system, and what to do where the system lacks them.

The packaged mongod is built for Ubuntu 22.04: it wants libcurl.so.4 and OpenSSL 3. A bare Debian with git has another
libcurl only. The wheel of pycurl brings its own copies under names of their own; linked under the names that mongod
asks for, they serve (libcurl then lacks its symbol versions, which the loader mentions and does not mind).
"""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from freehold.errors import MissingPartError

TRY_TIMEOUT_S = 30.0
INSTALL_TIMEOUT_S = 300.0
MISSING = re.compile(r"error while loading shared libraries: (\S+): cannot open")
PACKAGES = {
    "libcurl.so.4": "libcurl4",
    "libssl.so.3": "libssl3",
    "libcrypto.so.3": "libssl3",
    "liblzma.so.5": "liblzma5",
}


def prepare_libraries(
    mongod: Path, links: Path, report: Callable[[str], None], *, installs: bool = True
) -> dict[str, str]:
    """Find out what mongod lacks, before it is started, and mend that.

    Args:
        mongod: The server program.
        links: A folder of ours, for links to the libraries that a package brings.
        report: Told when something has to be mended.
        installs: Whether a package of the system may be installed, where we may do that.

    Returns:
        The environment to start it in.

    Raises:
        MissingPartError: A library is missing that cannot be had here; the message names the system's package.
    """
    environment = dict(os.environ)
    shutil.rmtree(links, ignore_errors=True)
    tried: set[str] = set()
    while missing := find_missing(mongod, environment):
        if missing not in tried and (carried := _find_carried(missing)):
            links.mkdir(parents=True, exist_ok=True)
            (links / missing).symlink_to(carried)
            before = os.environ.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = ":".join(map(str, [links, carried.parent, *([before] if before else [])]))
        elif f"{missing} installed" not in tried and installs and _can_install(missing):
            report(f"installing the system package {PACKAGES[missing]}, which MongoDB needs")
            _install(PACKAGES[missing])
            tried.add(f"{missing} installed")
        else:
            package = PACKAGES.get(missing, f"the package with {missing}")
            raise MissingPartError(
                f"MongoDB needs the system's library {missing}: install {package} (`apt-get install {package}` on Debian "
                "and Ubuntu), or name a MongoDB server of your own"
            )
        tried.add(missing)
    return environment


def find_missing(mongod: Path, environment: dict[str, str]) -> str | None:
    """Name the first library that the loader does not find for mongod; none if it runs.

    Raises:
        MissingPartError: It does not run for another reason.
    """
    done = subprocess.run(
        [str(mongod), "--version"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TRY_TIMEOUT_S,
        check=False,
    )
    if done.returncode == 0:
        return None
    if found := MISSING.search(done.stderr):
        return found[1]
    if done.returncode == -signal.SIGILL:
        reason = "this processor lacks the AVX instructions that MongoDB needs since version 5"
    else:
        reason = (done.stderr.strip() or f"it ended with code {done.returncode}").splitlines()[-1]
    raise MissingPartError(f"MongoDB does not run on this machine ({reason}); name a MongoDB server of your own")


def _find_carried(library: str) -> Path | None:
    """Find the copy of a library that pycurl's wheel carries beside it: libcurl.so.4 as libcurl-330bcbb6.so.4.8.0."""
    spec = importlib.util.find_spec("pycurl")
    if spec is None or spec.origin is None:
        return None
    # Beside the module, or beside the folder that the module is.
    places = [folder / "pycurl.libs" for folder in list(Path(spec.origin).parents)[:2]]
    stem, _, version = library.partition(".so.")
    return next((file for place in places for file in sorted(place.glob(f"{stem}-*.so.{version}*"))), None)


def _can_install(library: str) -> bool:
    return library in PACKAGES and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _install(package: str) -> None:
    """Install a system package; whether that helped is seen when mongod is tried again."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        subprocess.run(
            ["apt-get", *arguments],  # noqa: S607 - the system's own, wherever the system keeps it
            env=quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
