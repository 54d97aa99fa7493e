"""`evenload`: the command line. Gateways have it without the server's libraries, so those are imported when used.

Here are the commands of who runs a VTN; `lazy_commands` says where the others are.
"""

import json
import os
import shlex
import sys
from collections.abc import Coroutine, Sequence
from datetime import timedelta
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from core.errors import EvenloadError, InvalidError
from evenload.lazy_commands import LazyGroup
from evenload.output import show
from evenload.printable import printable_lines

_Result = TypeVar("_Result")

app = typer.Typer(
    name="evenload",
    cls=LazyGroup,
    help="OpenADR 2.0 demand response: VTN, gateways, bridges to devices, certificates.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="EVENLOAD_CONFIG", help="The VTN's settings file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _show_version(value: bool) -> None:
    if value:
        typer.echo(version("evenload"))
        raise typer.Exit


@app.callback()
def root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
    log_level: Annotated[
        str, typer.Option(envvar="EVENLOAD_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
) -> None:
    """Hold the options of all commands."""
    from evenload.logs import configure_logs  # noqa: PLC0415  help needs no logs

    del show_version
    configure_logs(log_level)


def _waited_for(work: Coroutine[Any, Any, _Result]) -> _Result:
    import asyncio  # noqa: PLC0415  help needs none

    return asyncio.run(work)


def _need_server() -> None:
    """Raise InvalidError with the next step where the server's libraries are missing."""
    needed = (
        "sqlalchemy",
        "aiosqlite",
        "alembic",
        "apscheduler",
        "highspy",
        "jinja2",
        "joserfc",
        "numpy",
        "prometheus_client",
    )
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise InvalidError(f"This needs {', '.join(missing)}; install them with: pip install 'evenload[server]'")


vtn_app = typer.Typer(help="Run a VTN.", invoke_without_command=True, no_args_is_help=False)


@vtn_app.callback()
def vtn(
    context: typer.Context,
    config: ConfigOption = Path("vtn.toml"),
    json_: JsonOption = False,
) -> None:
    """Run the VTN that a settings file describes, until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    _need_server()
    from evenload.server import Running, serve  # noqa: PLC0415  the server's libraries are optional
    from evenload.settings import load_settings  # noqa: PLC0415

    settings = load_settings(config)

    def ready(running: Running) -> None:
        urls = {"openadr": running.openadr_url, "api": running.api_url}
        if running.console_url is not None:
            urls["console"] = running.console_url
        if json_:
            typer.echo(json.dumps(urls))
        else:
            typer.echo(f"OpenADR for VENs:  {urls['openadr']}\nAPI for operators: {urls['api']}/v1")
            if running.console_url is not None:
                typer.echo(f"Console:           {running.console_url}   (sign in: evenload operator login-link NAME)")
        sys.stdout.flush()

    _run(serve(settings, on_ready=ready))


@vtn_app.command("init")
def vtn_init(
    directory: Annotated[Path, typer.Argument(help="A new directory for settings, certificates and data.")],
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address by which VENs reach this machine; repeatable.")
    ] = None,
    vtn_id: Annotated[str, typer.Option(help="The vtnID.")] = "EVENLOAD",
    json_: JsonOption = False,
) -> None:
    """Set up a directory for a VTN: settings, CA, server certificates and an admin token."""
    _need_server()
    from evenload.setup import prepare  # noqa: PLC0415  the server's libraries are optional
    from openadr.fingerprint import sha256_of_pem  # noqa: PLC0415

    made = _waited_for(prepare(directory, tuple(host or ()), vtn_id))
    ca = directory.resolve() / "ca" / "ca.pem"
    if json_:
        typer.echo(json.dumps({"settings": str(made.settings.resolve()), "ca": str(ca), "token": made.token}))
        return
    typer.echo(
        f"Prepared {directory}.\n\n"
        f"Start it:      evenload vtn --config {shlex.quote(str(made.settings))}\n"
        f"Admin token:   {made.token}   (shown this once)\n"
        f"Use it:        export EVENLOAD_TOKEN={made.token} EVENLOAD_CA={shlex.quote(str(ca))}\n"
        "               evenload fleet add 'Home 1'\n"
        f"Gateways check it with {ca}\n"
        f"               SHA-256 {sha256_of_pem(ca.read_bytes())}\n\n"
        f"Back up {directory / 'ca'} to a safe place: without its key every VEN has to enrol again."
    )
    if not host:
        typer.echo("Only this machine can reach it: with --host NAME other machines can, too.")


app.add_typer(vtn_app, name="vtn")


@app.command()
def backup(
    target: Annotated[Path, typer.Argument(help="The file to write. An existing file is replaced.")],
    config: ConfigOption = Path("vtn.toml"),
) -> None:
    """Back up the whole database to one file. The VTN may be running.

    Keys and certificates are not in it, and its secrets open only with the settings' `backup_key`.
    """
    _need_server()
    from evenload.settings import load_settings  # noqa: PLC0415  the server's libraries are optional
    from vtn.store.backup import backup as write  # noqa: PLC0415

    if target.is_dir():
        raise InvalidError(f"{target} is a directory; name the file to write.")
    settings = load_settings(config)
    _waited_for(write(settings.database, target, settings.backup_key))
    typer.echo(f"Wrote {target} ({target.stat().st_size:,} bytes). Its secrets open with {settings.backup_key}.")


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(help="A file made by `evenload backup`.")],
    config: ConfigOption = Path("vtn.toml"),
    without_secrets: Annotated[
        bool,
        typer.Option(
            "--without-secrets", help="Restore without the key: webhooks and price sources must be set up again."
        ),
    ] = False,
) -> None:
    """Restore a backup into an empty database. The VTN must not be running."""
    _need_server()
    from evenload.settings import load_settings  # noqa: PLC0415  the server's libraries are optional
    from vtn.store.backup import restore as read  # noqa: PLC0415

    settings = load_settings(config)
    _waited_for(read(source, settings.database, settings.backup_key, without_secrets=without_secrets))
    typer.echo(f"Restored {source}.")


operator_app = typer.Typer(
    help="Manage operators: who may use the REST API and the console. Run it where the VTN's database is.",
    no_args_is_help=True,
)


@operator_app.command("add")
def operator_add(
    name: Annotated[str, typer.Argument(help="Name of the operator, as shown in the audit.")],
    role: Annotated[str, typer.Option(help="viewer, dispatcher or admin")] = "viewer",
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="The token expires after this number of days.")
    ] = None,
    config: ConfigOption = Path("vtn.toml"),
    json_: JsonOption = False,
) -> None:
    """Create an operator and print the token, which is shown only once."""
    _need_server()
    from evenload.setup import add_operator  # noqa: PLC0415  the server's libraries are optional

    lifetime = timedelta(days=days) if days else None
    token = _waited_for(add_operator(config, name, role, lifetime))
    typer.echo(json.dumps({"name": name, "role": role, "token": token}) if json_ else token)


@operator_app.command("list")
def operator_list(config: ConfigOption = Path("vtn.toml"), json_: JsonOption = False) -> None:
    """List operators."""
    _need_server()
    from evenload.setup import list_operators  # noqa: PLC0415  the server's libraries are optional

    columns = ("name", "role", "created_at", "expires_at", "revoked_at")
    show(_waited_for(list_operators(config)), as_json=json_, columns=columns)


@operator_app.command("revoke")
def operator_revoke(
    name: Annotated[str, typer.Argument(help="As `evenload operator list` shows it.")],
    config: ConfigOption = Path("vtn.toml"),
) -> None:
    """Revoke an operator's token. A running VTN refuses it within ten seconds."""
    _need_server()
    from evenload.setup import revoke_operator  # noqa: PLC0415  the server's libraries are optional

    _waited_for(revoke_operator(config, name))
    typer.echo(f"Revoked {name}.")


@operator_app.command("login-link")
def operator_login_link(
    name: Annotated[str, typer.Argument(help="As `evenload operator list` shows it.")],
    url: Annotated[str | None, typer.Option(help="The console's address, if it is not in the settings.")] = None,
    config: ConfigOption = Path("vtn.toml"),
    json_: JsonOption = False,
) -> None:
    """Print a link that signs an operator in to the console. It works once, within ten minutes."""
    _need_server()
    from evenload.setup import login_link  # noqa: PLC0415  the server's libraries are optional

    link = _waited_for(login_link(config, name, url))
    typer.echo(json.dumps({"name": name, "link": link}) if json_ else link)


@operator_app.command("password")
def operator_password(
    name: Annotated[str, typer.Argument(help="As `evenload operator list` shows it.")],
    none: Annotated[bool, typer.Option("--none", help="Remove the password.")] = False,
    config: ConfigOption = Path("vtn.toml"),
) -> None:
    """Set an operator's console password. Without a terminal it is read from the first line of standard input."""
    _need_server()
    from evenload.setup import set_password  # noqa: PLC0415  the server's libraries are optional

    password = None
    if not none and sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    elif not none:
        password = sys.stdin.readline().rstrip("\r\n")
    _waited_for(set_password(config, name, password))
    typer.echo(f"{name} has {'no password any more' if none else 'a new password; its sessions have ended'}.")


app.add_typer(operator_app, name="operator")


@app.command()
def demo(
    households: Annotated[int, typer.Option(min=4, max=60, help="How many homes take part.")] = 12,
    speed: Annotated[
        float, typer.Option(min=1, max=480, help="How many times as fast as real time the world runs.")
    ] = 60,
    once: Annotated[bool, typer.Option("--once", help="Stop at the end of the demonstration.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result to a file.")] = None,
    seed: Annotated[int, typer.Option(help="Which homes and days.")] = 1,
    run_directory: Annotated[Path | None, typer.Option("--run", help="Directory for the files of this run.")] = None,
    fault: Annotated[
        str | None, typer.Option(hidden=True, help="Break the demonstration, to see the checks fail.")
    ] = None,
) -> None:
    """Run a complete demonstration: homes, gateways, a VTN, an event and what it delivers."""
    _need_server()
    from evenload.demo.run import Options, tell  # noqa: PLC0415  the server's libraries are optional

    options = Options(households, speed, once=once, json_file=json_file, seed=seed, run=run_directory, fault=fault)
    raise typer.Exit(_waited_for(tell(options)))


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Run on uvloop where it is installed."""
    if find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415  optional

        uvloop.run(work)
    else:
        _waited_for(work)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error that a user can mend is a line or two and exit code 1.

    Whatever it writes is its user's alone: states, logs and results hold secrets or what people do.
    """
    os.umask(0o077)
    try:
        app(arguments)
    except EvenloadError as error:
        typer.echo(printable_lines(f"evenload: {error}"), err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
