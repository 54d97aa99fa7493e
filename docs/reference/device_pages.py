"""A page for each device template that comes with evenload, made of the template."""

from collections.abc import Iterator
from functools import partial
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from bridges.drivers import TEMPLATES
from bridges.template import CapabilityBody, DeviceBody, PointSource, StateTemplate, Template, meaning
from core.points import UNITS, Flow, Phase
from docs.reference.markdown import cell, table

NOTE: Final = "<!-- Written by `make reference`; change the code's own words instead. -->\n"
FOLDER: Final = "devices"
_COPY: Final = "[a copy of it in the household's own `templates`](../../how-to/add-a-device.md) can be changed"
_SORTS: Final = ("reactive", "apparent")
_KINDS: Final = {
    "register": "counter",
    "instant": "momentary value",
    "mean": "mean",
    "sum": "amount per interval",
}


def pages() -> dict[str, Any]:
    """Return what writes each page, by its file."""
    return {f"{FOLDER}/{path.stem}.md": partial(page, path.stem) for path in sorted(TEMPLATES.glob("*.yaml"))}


def page(name: str) -> str:
    """Return the page of a template."""
    template = _template(name)
    head, body = template.head, template.example
    return "\n".join(
        (
            f"# {head.title}\n\n{NOTE}",
            *([head.description.strip() + "\n"] if head.description.strip() else []),
            *_written_against(template),
            "## In the household file\n",
            f"```yaml\n{example(name)}```\n",
            *_options(template),
            *_points(body),
            *_capabilities(body),
            *_presence(body),
            *(("## What to know\n", "".join(f"- {sentence}\n" for sentence in head.limits)) if head.limits else ()),
            f"The template is `bridges/templates/{name}.yaml`; {_COPY}.\n",
        )
    )


def example(name: str) -> str:
    """Return entries of a household file that `evenload ven check` finds good."""
    template = _template(name)
    needed = {key: what.example for key, what in template.head.parameters.items() if what.default is None}
    entry: dict[str, Any] = {"id": name.replace("_", "-"), "driver": name}
    if template.head.roles:
        entry["role"] = template.head.roles[0]
    if "switch" in template.example.capabilities or "import_limit" in template.example.capabilities:
        entry["nominal_w"] = 2000
    if needed:
        entry["with"] = needed
    yaml, out = YAML(typ="safe", pure=True), StringIO()
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = True, 10_000, False  # type: ignore[assignment]
    yaml.dump(entry, out)
    return f"mqtt: {{host: localhost, client_id: evenload-home-1}}\ndevices:\n  - {out.getvalue().strip()}\n"


def _template(name: str) -> Template:
    return Template(TEMPLATES / f"{name}.yaml")


def _written_against(template: Template) -> Iterator[str]:
    head = template.head
    if head.firmware or head.source:
        against = f"Written against {head.firmware}" if head.firmware else "Written"
        yield f"{against}{', by ' + head.source if head.source else ''}.\n".replace("..\n", ".\n")


def _options(template: Template) -> Iterator[str]:
    parameters = template.head.parameters
    if not parameters:
        return
    yield "## Options in `with`\n"
    rows = (
        (
            f"`{name}`",
            "must be given" if what.default is None else f"`{what.default}`" if what.default != "" else "empty",
            cell(f"{what.title}. {what.description}" + (f" One of {', '.join(what.values)}." if what.values else "")),
        )
        for name, what in parameters.items()
    )
    yield table(("option", "default", "meaning"), rows)


def _points(body: DeviceBody) -> Iterator[str]:
    if not body.points:
        return
    yield "## What it reads\n"
    yield table(
        ("point", "what", "unit", "from"), ((f"`{name}`", *_point(name, each)) for name, each in body.points.items())
    )


def _point(name: str, source: PointSource) -> tuple[str, str, str]:
    quantity, kind, flow, phase = meaning(name, source)
    noun, _, sort = quantity.partition("_")
    words = [
        noun if sort == "real" else f"{sort} {noun}" if sort in _SORTS else quantity.replace("_", " "),
        _KINDS[kind],
    ]
    words += [word for word, given in (("exported", flow is Flow.EXPORT), ("net", flow is Flow.NET)) if given]
    words += [f"phase {phase.upper()}"] if phase is not Phase.TOTAL else []
    ours = UNITS[quantity]
    theirs = source.unit or ours
    unit = ours if theirs == ours and source.scale == 1 else f"{ours}, of {theirs}"
    return ", ".join(words), cell(unit or "-"), _place(source)


def _place(source: StateTemplate) -> str:
    where = "".join(f", where `{path}` is `{word}`" for path, word in source.where.items())
    each = f", each element of `{source.each}`" if source.each else ""
    record = getattr(source, "record", None)
    path = f": `{source.path}`" if source.path else f": record `{record}`" if record else ""
    return cell(f"`{source.topic}`{path}{each}{where}")


def _capabilities(body: DeviceBody) -> Iterator[str]:
    if not body.capabilities:
        return
    yield "## What it can be told\n"
    rows = ((f"`{name}`", *_capability(each)) for name, each in body.capabilities.items())
    yield table(("capability", "values", "told by", "answers by"), rows)


def _capability(body: CapabilityBody) -> tuple[str, str, str]:
    if body.values:
        values = ", ".join(f"`{value}`" for value in body.values)
    else:
        low, high = ("any" if bound is None else f"{bound:g}" for bound in (body.low, body.high))
        values = "any text" if body.text else f"{low} to {high} {body.unit}".strip()
    lease = "; goes back by itself" if body.has_lease else ""
    told = ", ".join(dict.fromkeys(f"`{order.topic}`" for order in body.orders))
    heard = "; ".join(_place(source) for _, source in body.sources()) or "nothing is heard of it"
    normal = f"`{body.normal}`" if body.normal != "" else "none"
    return cell(f"{values} (normal: {normal})"), cell(f"{told}{lease}"), heard


def _presence(body: DeviceBody) -> Iterator[str]:
    if body.presence is not None:
        there, away = (
            " or ".join(f"`{word}`" for word in words) for words in (body.presence.online, body.presence.offline)
        )
        if there:
            yield f"It is there when {_place(body.presence)} says {there}, and away when it says {away}.\n"
        else:
            yield f"It is away when {_place(body.presence)} says {away}, and there when it says anything else.\n"
    for start in body.starts:
        if start.offline:
            words = " or ".join(f"`{word}`" for word in start.offline)
            yield f"It counts as away, too, while {_place(start)} says {words}.\n"
