"""`freehold config show`, `config credential` and `version`."""

from __future__ import annotations

from typing import Annotated

import typer

from freehold.cli.output import JSON, print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What a process reads from its environment.", no_args_is_help=True)
    group.command("show")(show)
    group.command("credential")(credential)
    app.add_typer(group, name="config", rich_help_panel="This machine")
    app.command("version", rich_help_panel="This machine")(version)


def show(json: JSON = False) -> None:
    """Show each setting, its value with secrets hidden, and where it comes from."""
    import msgspec

    from freehold.runtime.settings import read_settings

    settings = read_settings()
    lines = settings.shown()
    if json:
        print_json([msgspec.to_builtins(line) for line in lines])
        return
    print_table(("setting", "value", "from", "takes"), [(x.name, x.value, x.origin, x.takes) for x in lines])


def credential(
    caller: Annotated[str, typer.Argument(help='Who is to call this service: another service\'s name, or "operator".')],
) -> None:
    """Print what CALLER shows to the service of this environment (FREEHOLD_INTERNAL_KEY) to ask its internal routes."""
    from freehold.http.internal import credential as make_credential
    from freehold.runtime.settings import read_settings

    typer.echo(make_credential(read_settings().required("internal_key"), caller))


def version(json: JSON = False) -> None:
    """Print the version."""
    from importlib.metadata import version as version_of

    if json:
        print_json({"version": version_of("freehold")})
    else:
        typer.echo(version_of("freehold"))
