"""Templates of programmes, as data: the kinds that OpenADR's program guide knows, with figures to begin from.

The seven kinds are those of the OpenADR 2.0 Demand Response Program Implementation Guide (2014). The figures are ours:
defaults, for whoever runs the programme to set.
"""

from functools import cache
from importlib.resources import files
from typing import Annotated, Final, Self

from pydantic import Field
from ruamel.yaml import YAML

from core.errors import InvalidError
from vtn.api.fields import Printable
from vtn.api.programme_parameters import ProgrammeParameters
from vtn.api.signals import SignalIn
from web.api import Context
from web.model import Model
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID: Final = Keyset("programme templates", str)
_FOLDER: Final = "templates"


class ProgrammeTemplate(Model):
    """A kind of programme, with parameters and an event to begin from."""

    id: str
    """What `template` of a new programme names."""
    title: Printable
    summary: Printable
    parameters: ProgrammeParameters
    signals: Annotated[list[SignalIn], Field(min_length=1)]
    """What a typical event of such a programme says, as `POST /v1/dispatches` takes it."""

    @classmethod
    def read(cls, name: str, text: str) -> Self:
        """Return the template that stands in a YAML file."""
        return cls.model_validate({"id": name, **YAML(typ="safe").load(text)})


@cache
def templates() -> dict[str, ProgrammeTemplate]:
    """Return all templates by id."""
    folder = files("vtn.api").joinpath(_FOLDER)
    names = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {name: ProgrammeTemplate.read(name, folder.joinpath(f"{name}.yaml").read_text("utf-8")) for name in names}


def template(name: str) -> ProgrammeTemplate:
    """Return a template. Raises InvalidError, naming those that there are."""
    there = templates()
    if name not in there:
        raise InvalidError(f"There is no template '{name}'; there are {', '.join(there)}.", field="template")
    return there[name]


def filled(name: str | None, given: ProgrammeParameters) -> ProgrammeParameters:
    """Return the parameters of a template, and in their place those that were given. Raises InvalidError."""
    if name is None:
        return given
    return template(name).parameters.model_copy(update={key: getattr(given, key) for key in given.model_fields_set})


@operation("GET", "/v1/programme-templates", summary="List templates of programmes", role="viewer", tags=["programmes"])
async def list_templates(context: Context, limit: Limit = 100, cursor: Cursor | None = None) -> Page[ProgrammeTemplate]:
    del context
    return _BY_ID.part(list(templates().values()), limit, cursor, key=lambda row: (row.id,))


OPERATIONS = (list_templates,)
