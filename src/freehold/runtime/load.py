"""Find what is to be run: a folder with `system.py` that holds `system`, or "module:attribute"."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from freehold.errors import ConfigurationError, DeclarationError, FreeholdError
from freehold.service import Service, System


def load_system(source: str) -> System:
    """Load a system.

    Args:
        source: A folder with `system.py`, that file itself, or "package.module:attribute".

    Raises:
        ConfigurationError: Nothing is there.
        DeclarationError: What is there is no System, or cannot be imported.
    """
    found = _load(source)
    if isinstance(found, Service):
        return System(name=found.name, services=[found])
    if not isinstance(found, System):
        raise DeclarationError(f"{source} holds a {type(found).__name__}; `system` must be a freehold System")
    return found


def load_part(source: str, name: str) -> Any:
    """Load what one process runs: the service of that name, or the gateway.

    A system that keeps each in a folder of its own, `NAME/service.py` (or `NAME/gateway.py`) with `NAME` in it, is not
    loaded whole: a process starts faster and is smaller without the others' code and drivers.

    Raises:
        ConfigurationError: Nothing is there.
        DeclarationError: There is none of that name.
    """
    if ":" not in source:
        folder = _file_of(Path(source)).parent / name
        for file in (folder / "service.py", folder / "gateway.py"):
            found = getattr(_import(_module_of(file), source), name, None) if file.is_file() else None
            if getattr(found, "name", None) == name:
                return found
    system = load_system(source)
    if getattr(system.gateway, "name", None) == name:
        return system.gateway
    return system.service(name)


def load_service(source: str, name: str | None = None) -> Service:
    """Load one service: the one of that name from a system, or the only one that is there.

    Raises:
        ConfigurationError: Nothing is there.
        DeclarationError: There is none of that name, or several and no name.
    """
    found = _load(source)
    if isinstance(found, Service) and name in {None, found.name}:
        # By itself, also when it reads the events of others: those are found on Kafka.
        return found
    system = load_system(source)
    if name is not None:
        return system.service(name)
    if len(system.services) == 1:
        return system.services[0]
    raise DeclarationError(f"{source} has several services; name one of {', '.join(s.name for s in system.services)}")


def load_attribute(file: str, name: str) -> Any:
    """Load what a file of a system holds under this name.

    Raises:
        ConfigurationError: There is no such file, or it imports what is not installed.
        DeclarationError: It holds no such name, or cannot be imported.
    """
    module_name = _module_of(_file_of(Path(file)))
    module = _import(module_name, file)
    if not hasattr(module, name):
        raise DeclarationError(f"{file} has no {name!r}; put `{name} = ...` there")
    return getattr(module, name)


def find_folder(source: str) -> Path | None:
    """Give the folder of a system's file, in which its services have theirs; None when it is named as a module."""
    return None if ":" in source else _file_of(Path(source)).parent


def _load(source: str) -> Any:
    module_name, colon, attribute = source.rpartition(":")
    if not colon:
        module_name, attribute = _module_of(_file_of(Path(source))), "system"
    module = _import(module_name, source)
    if not hasattr(module, attribute):
        raise DeclarationError(f"{module_name} has no {attribute!r}; put `{attribute} = System(...)` there")
    return getattr(module, attribute)


def _import(module_name: str, source: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except FreeholdError:
        raise
    except ModuleNotFoundError as error:
        raise ConfigurationError(_not_found(source, module_name, error)) from error
    except Exception as error:
        raise DeclarationError(f"{source} cannot be imported: {type(error).__name__}: {error}") from error


def _file_of(path: Path) -> Path:
    file = path if path.suffix == ".py" else path / "system.py"
    if not file.is_file():
        raise ConfigurationError(
            f"{path} is no system: there is no {file}; give a folder that has system.py, or module:attribute"
        )
    return file.resolve()


def _module_of(file: Path) -> str:
    root = _root_of(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return ".".join(file.relative_to(root).with_suffix("").parts)


def _root_of(file: Path) -> Path:
    # A system imports its services as packages: "systems.shop.users" from the folder that holds `systems`. Where it was
    # started is that folder as a rule; else the nearest one above the packages.
    here = Path.cwd().resolve()
    if file.is_relative_to(here) and all(part.isidentifier() for part in file.relative_to(here).with_suffix("").parts):
        return here
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return root


def _not_found(source: str, module_name: str, error: ModuleNotFoundError) -> str:
    missing = error.name or ""
    if module_name == missing or module_name.startswith(f"{missing}."):
        return f"{source}: there is no module {missing!r} from here"
    return f"{source} imports {missing!r}, which is not installed"
