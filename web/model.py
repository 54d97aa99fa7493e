"""The common ground of request bodies and answers: the base model and the types that JSON lacks."""

import ast
import functools
import inspect
import re
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from core.errors import InvalidError
from core.spans import Duration

_TIME = (
    r"^(19[7-9][0-9]|2[01][0-9]{2})-[0-9]{2}-[0-9]{2}"
    r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DURATION = r"^-?P(?!$)([0-9]+W|([0-9]+Y)?([0-9]+M)?([0-9]+D)?(T(?!$)([0-9]+H)?([0-9]+M)?([0-9]+S)?)?)$"


class SchemaWriter(GenerateJsonSchema):
    """Writes JSON Schema 2020-12: defaults as they look in JSON, `Page[Ven]` called `VenPage`, docstrings told.

    Docstrings of fields are read here, not by pydantic's `use_attribute_docstrings`: that searches the source for every
    class at import, a good part of a server's start.
    """

    def model_schema(self, schema: ModelSchema) -> dict[str, Any]:
        """Return a model's schema, each field described by the docstring below it."""
        written = super().model_schema(schema)
        cls = schema["cls"]
        texts = {
            (field.alias or name): text
            for base in reversed(cls.__mro__)
            if issubclass(base, BaseModel)
            for name, text in _field_docstrings(base.__module__).get(base.__qualname__, {}).items()
            if (field := cls.model_fields.get(name))
        }
        for name, shown in written.get("properties", {}).items():
            if name in texts:
                shown.setdefault("description", texts[name])
        return written

    def encode_default(self, dft: Any) -> Any:
        """Return a default as a JSON value."""
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)

    def normalize_name(self, name: str) -> str:
        """Return the name of a component."""
        return super().normalize_name(re.sub(r"^(\w+)\[(\w+)\]$", r"\2\1", name))


@functools.cache
def _field_docstrings(module: str) -> dict[str, dict[str, str]]:
    """Return, by class, the docstrings below the annotated names of a module's classes."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError):
        return {}  # no source beside the code: a document without descriptions
    found: dict[str, dict[str, str]] = {}
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        prefix, node = waiting.pop()
        body = getattr(node, "body", [])
        for one, following in zip(body, [*body[1:], None], strict=True):
            match one, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ) if isinstance(node, ast.ClassDef):
                    found.setdefault(prefix, {})[name] = inspect.cleandoc(text)
                case ast.ClassDef(name=name), _:
                    waiting.append((f"{prefix}.{name}".lstrip("."), one))
                case ((ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name)), _):
                    waiting.append((f"{prefix}.{name}.<locals>".lstrip("."), one))
                case _:
                    pass
    return found


class Model(BaseModel):
    """Base of request bodies and answers: frozen, no unknown fields, finite numbers."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        defer_build=True,  # a process uses few of them
    )


def _rfc3339(value: Any) -> Any:
    """Refuse what pydantic would read as a time besides RFC 3339: bare dates, seconds since 1970 as text."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and re.fullmatch(_TIME, value):
        return datetime.fromisoformat(value.upper())
    raise ValueError(
        "Write a time with zone from 1970 to 2199, such as 2026-01-31T12:00:00Z (in a URL, write '+' as %2B)."
    )


def _iso_duration(value: Any) -> Duration:
    if isinstance(value, Duration):
        return value
    if not isinstance(value, str) or not re.fullmatch(_DURATION, value):
        raise ValueError("Write a duration such as PT15M or P1DT2H (no decimals).")
    try:
        return Duration.parse(value)
    except InvalidError as error:
        raise ValueError(str(error)) from error


UtcTime = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc3339),
    AfterValidator(lambda when: when.astimezone(UTC)),
    WithJsonSchema({"type": "string", "format": "date-time", "pattern": _TIME, "examples": ["2026-01-31T12:00:00Z"]}),
]
"""A time as RFC 3339 text with zone, years 1970 to 2199 (so that date arithmetic cannot leave the calendar)."""

Day = Annotated[
    str,
    WithJsonSchema({"type": "string", "format": "date", "pattern": _DAY, "examples": ["2026-01-31"]}),
    Field(pattern=_DAY),
]
"""A day of the calendar, as text."""

IsoDuration = Annotated[
    Duration,
    PlainValidator(_iso_duration),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION, "examples": ["PT15M"]}),
]
"""A duration as ISO 8601 text, kept as `core.spans.Duration`."""
