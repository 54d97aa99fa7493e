"""`make reference`: write commands.md, settings.md, rules.md and a page for each device from what the code says itself.

The help of commands and options, the descriptions and defaults of settings, the catalogue of OpenADR's rules, and the
device templates.
"""

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any, get_args

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from bridges.drivers import sources
from conformance.catalogue import TITLES, Level, Rule, load
from conformance.vocabulary import CODES, DEVICE_CLASSES, SIGNALS
from docs.reference import device_pages
from docs.reference.device_pages import NOTE
from docs.reference.markdown import cell, table
from evenload.cli import app
from evenload.settings import Settings
from ven.household import Household

HERE = Path(__file__).parent


# -- commands


def commands() -> str:
    """Return the page of all commands, with their arguments and options."""
    root = typer.main.get_command(app)
    intro = "`evenload --help`, and `--help` after any command, say the same. Before a command: " + ", ".join(
        f"`{'/'.join(param.opts)}` ({_help(param)})"
        for param in root.params
        if param.name in {"show_version", "log_level"}
    )
    return f"# Commands\n\n{NOTE}\n{intro}.\n\n" + "\n".join(_commands(root, "evenload"))


def _commands(group: Any, path: str) -> Iterator[str]:
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        if command.hidden:
            continue
        place = f"{path} {name}"
        level = "##" if path == "evenload" else "###"
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        usage = " ".join([place, *(f"{_metavar(param)}" for param in arguments)])
        yield f"{level} `{usage}`\n"
        yield f"{cell(inspect.cleandoc(command.help or ''))}\n"
        rows = [
            (f"`{_metavar(param)}`" if param in arguments else _option(param), _help(param))
            for param in command.params
            if not getattr(param, "hidden", False) and param.name != "help"
        ]
        if rows:
            yield table(("argument or option", "meaning"), rows)
        if hasattr(command, "list_commands"):
            yield from _commands(command, place)


def _metavar(param: Any) -> str:
    name = param.metavar or param.name.rstrip("_").upper()
    name = f"{name}..." if param.nargs != 1 else name
    return name if param.required else f"[{name}]"


def _option(param: Any) -> str:
    names = "/".join([*param.opts, *param.secondary_opts])
    return f"`{names}`" if param.is_flag else f"`{names} {param.metavar or param.name.rstrip('_').upper()}`"


def _help(param: Any) -> str:
    text = cell(param.help or "")
    parts = [text if not text or text[-1] in ".?!:" else f"{text}."]
    if (
        isinstance(param.default, str | int | float | Path)
        and not isinstance(param.default, bool)
        and param.default != ""
    ):
        parts.append(f"Default: `{cell(param.default)}`.")
    if param.envvar:
        parts.append(f"Variable: `{param.envvar}`.")
    if param.required and param.param_type_name == "option":
        parts.append("Required.")
    return " ".join(part for part in parts if part)


# -- settings


_VTN = """## The VTN: `vtn.toml`

TOML; relative paths start at the file's directory. A variable `EVENLOAD_...` overrules the file, with `__` between
section and name: `EVENLOAD_OPENADR__PORT=9443`; lists and tables as JSON. A misspelt name is refused, with its place.
"""
_HOUSEHOLD = """## The household: `household.yaml`

YAML; relative paths start at the file's directory. `evenload ven check` names mistakes with line and column, and
`evenload ven schema` prints the schema for editors. An example is `examples/household.yaml`.
"""
_WITH = """## A device's `with`, by driver
"""


def settings() -> str:
    """Return the page of the VTN's settings, the household file, and the options of our drivers."""
    vtn, household = _model(Settings, "", set()), _model(Household, "", set())
    drivers = (
        part
        for name, source in sources().items()
        for part in _model(source.load().Options, name, set(), heading=f"### `{name}`\n")
    )
    return "\n".join((f"# Settings\n\n{NOTE}", _VTN, *vtn, _HOUSEHOLD, *household, _WITH, *drivers))


def _model(model: type[BaseModel], prefix: str, shown: set[type[BaseModel]], heading: str = "") -> Iterator[str]:
    """Yield a model's table, then those of the models in it, each once."""
    shown.add(model)
    words = _words(model)
    inner: list[tuple[str, type[BaseModel]]] = []
    rows = []
    for field_name, field in model.model_fields.items():
        name = field.alias or field_name
        text = field.description or words.get(field_name, "")
        for part in _models_in(field.annotation):
            place = f"{prefix}.{name}" if prefix else name
            if part not in shown:
                inner.append((place + _plural(field.annotation), part))
                shown.add(part)
            text = text or _first_line(part)
        rows.append((f"`{name}`", _default(field), cell(text)))
    if prefix:
        yield heading or f"### `{prefix}`\n\n{cell(inspect.getdoc(model) or '')}\n"
    yield table(("setting", "default", "meaning"), rows)
    for place, part in inner:
        yield from _model(part, place, shown)


def _first_line(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").split("\n")[0]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or isinstance(value, BaseModel) or value in ((), {}, ""):
        return "none" if value is None else ""
    return f"`{cell(str(value).lower() if isinstance(value, bool) else value)}`"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _plural(annotation: Any) -> str:
    """Return `[]` behind a list's name, `.NAME` behind that of a table with names of one's own."""
    kinds = {getattr(part, "__origin__", part) for part in (annotation, *get_args(annotation))}
    return "[]" if tuple in kinds or list in kinds else ".NAME" if dict in kinds else ""


def _words(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts that stand below a model's fields."""
    try:
        body = ast.parse(dedent(inspect.getsource(model))).body[0]
    except (OSError, TypeError):  # a model made of data has no source
        return {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    return {
        field.target.id: inspect.cleandoc(text.value)
        for field, follower in pairwise(statements)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(follower, ast.Expr) and isinstance(follower.value, ast.Constant)
        if isinstance(text := follower.value, ast.Constant) and isinstance(text.value, str)
    }


# -- rules


_RULES = """What OpenADR 2.0b asks of a VTN and a VEN, in our own words: {count} rules. Comments in the code cite them
by id, such as EV-12. What of all this evenload does today stands in [OpenADR](openadr.md).

Binding are the schema and the numbered conformance rules of the OpenADR 2.0b Profile Specification (revision 1.1), free
at the OpenADR Alliance. *source* says where in them a rule stems from: R15 is conformance rule 15, § a section, PICS
the form on which the features of a product are declared for its certification.

*who* has to obey: the VTN, the VEN, or both. *level* says how strictly: {levels}.

*seen by* says how somebody notices who has only the messages, and a peer that says what the test needs.
"""
_LEVELS = {
    Level.MUST: "must",
    Level.SHOULD: "should",
    Level.MAY: "may",
    Level.OPEN: "left open by the specification",
}
_SIGNALS = """## Well-known signals

What EV-29 asks for. *unit* is the itemBase; where several stand, one of them. Names that begin with `x-` are a
deployment's own (GN-14).
"""
_CODES = """## Response codes

The first digits say what is at fault: 45 the message, 46 what was agreed on in the deployment. Which code fits is
advice, and the kit takes any 4xx, unless a rule says "exactly". 455 to 458 and 464 to 468 are reserved.
"""
_CLASSES = """## Classes of devices

What an endDeviceAsset may name (EV-31, OP-11, RP-09), beside names that begin with `x-`:
"""
_DECISIONS = """## Decisions

Where the specification is in doubt or contradicts itself: what evenload does, and what its
[conformance kit](../how-to/test-your-vtn.md) takes and sends. The kit takes each reading that the text allows.
"""


def rules() -> str:
    """Return the page of OpenADR's rules, with the names that they speak of and our decisions."""
    catalogue = load()
    levels = ", ".join(
        f"{level} {words} ({sum(rule.level is level for rule in catalogue)})" for level, words in _LEVELS.items()
    )
    chapters = (
        part
        for chapter, title in TITLES.items()
        for part in (f"## {chapter}: {title}\n", _chapter(rule for rule in catalogue if rule.chapter is chapter))
    )
    signals = (
        (signal.name, " or ".join(signal.types), " or ".join(signal.units) or "none", signal.values)
        for signal in SIGNALS
    )
    codes = ((str(code.number), code.meaning, code.use) for code in CODES)
    decided = (f"- **{rule.id}** {rule.decision}" for rule in catalogue if rule.decision is not None)
    return "\n".join(
        (
            f"# The rules of OpenADR 2.0b\n\n{NOTE}",
            _RULES.format(count=len(catalogue), levels=levels),
            *chapters,
            _SIGNALS,
            table(("signalName", "signalType", "unit", "values"), signals),
            _CODES,
            table(("code", "meaning", "such as"), codes),
            _CLASSES,
            f"{', '.join(DEVICE_CLASSES)}.\n",
            _DECISIONS,
            *decided,
            "",
        )
    )


def _chapter(rules_of_it: Iterable[Rule]) -> str:
    """Return a chapter's table; a rule in doubt leads to what was decided."""
    return table(
        ("id", "who", "level", "rule", "seen by", "source"),
        (
            (
                rule.id,
                rule.side,
                rule.level,
                cell(rule.text) + (" ([decision](#decisions))" if rule.decision is not None else ""),
                cell(rule.check),
                ", ".join(rule.source),
            )
            for rule in rules_of_it
        ),
    )


PAGES = {"commands.md": commands, "settings.md": settings, "rules.md": rules} | device_pages.pages()


def main() -> None:
    """Write the pages."""
    (HERE / device_pages.FOLDER).mkdir(exist_ok=True)
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
