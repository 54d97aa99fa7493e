"""What drivers there are, for people and programs: what each is for, reads and sets, and the options of its devices."""

from dataclasses import dataclass
from pathlib import Path

from bridges.drivers import DriverSource, Origin, TemplateModule, sources
from core.errors import InvalidError


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a driver's devices, in the section `with` of a household file; `default` where it has one."""

    name: str
    title: str
    description: str
    required: bool
    default: object = None


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """A driver; `points` and `capabilities` of a template only. `fault` says why it cannot be used, if so."""

    name: str
    origin: Origin
    title: str = ""
    description: str = ""
    connection: str | None = None
    points: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    fault: str | None = None


def listing(folder: Path | None = None) -> list[DriverInfo]:
    """Return all drivers by name; `folder` holds a household's own templates. One that is no good is there, too.

    Raises InvalidError for a folder that cannot be read.
    """
    return [_info(source) for source in sources(folder).values()]


def _info(source: DriverSource) -> DriverInfo:
    try:
        module = source.load()
    except InvalidError as error:
        return DriverInfo(source.name, source.origin, fault=str(error))
    schema = module.Options.model_json_schema()
    required = schema.get("required", ())
    options = tuple(
        Option(name, rule.get("title", name), rule.get("description", ""), name in required, rule.get("default"))
        for name, rule in schema.get("properties", {}).items()
    )
    title = (module.Options.__doc__ or source.name).strip().splitlines()[0]
    if not isinstance(module, TemplateModule):
        return DriverInfo(source.name, source.origin, title, "", module.CONNECTION, options=options)
    head, body = module.template.head, module.template.example
    points, capabilities = tuple(body.points), tuple(body.capabilities)
    return DriverInfo(
        source.name, source.origin, head.title, head.description, module.CONNECTION, points, capabilities, options
    )
