"""Operations: plain async functions whose type hints say what a request may hold and what the answer holds.

    @operation("GET", "/vens/{ven_id}", summary="Read a VEN", role="viewer", tags=["vens"], errors=[404])
    async def read_ven(context: Context, ven_id: str) -> Ven: ...

- `context` comes first.
- `body`: a pydantic model or dataclass; unknown fields are refused.
- parameters named in the path; all others come from the query: those without default are required. `from_` is `from`
  in the URL. They may be str,
  int, float, bool, `UtcTime`, enums, Literals, `| None`, lists of these, and Annotated with pydantic's Field.
- the answer: a model, dataclass, list, `Page`, or None (204). A `web.StreamResponse` is passed through as it is;
  `Model | web.Response` is for operations that also have another form of the answer, `media_type`.

The decorator only attaches the description; `web.api.Api` collects functions (or bound methods) into routes.
"""

import functools
import inspect
import json
import math
import operator
import re
import types
import typing
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock
from typing import Annotated, Any, Literal, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from web.auth import Role
from web.body import parse
from web.pagination import Page
from web.problem import Fault, ProblemError, invalid_body, invalid_parameters

Handler = Callable[..., Awaitable[Any]]
_Function = TypeVar("_Function", bound=Handler)
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

_MARK = "__operation__"
_one_at_a_time = RLock()
"""Requests and the document, which is written in a thread, build the same types when they first need them."""
_FIELD = "p_"
_IN_PATH = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_MAX_TEXT = 1000
_MAX_PARAMETERS = 100
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Description:
    """What the decorator was told. `example` is a request body, `answer_example` what comes back.

    `entry` are parts of the document's entry that no type says; such an operation reads its body itself.
    """

    method: Method
    path: str
    summary: str
    roles: tuple[Role, ...]
    tags: tuple[str, ...]
    status: int | None
    errors: tuple[int, ...]
    example: Any
    answer_example: Any
    media_type: str
    media_example: str | None
    scopes: tuple[str, ...]
    headers: Mapping[str, str]
    entry: Mapping[str, Any] | None


def operation(
    method: Method,
    path: str,
    *,
    summary: str,
    role: str | Sequence[str] | None,
    tags: Sequence[str] = (),
    status: int | None = None,
    errors: Sequence[int] = (),
    example: Any = None,
    answer_example: Any = None,
    media_type: str = "application/json",
    media_example: str | None = None,
    scopes: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
    entry: Mapping[str, Any] | None = None,
) -> Callable[[_Function], _Function]:
    """Describe the function below as an operation.

    `role` is who may call it (a role, or several of which one suffices); None, which has to be said, means everybody.
    `status` is 200, or 204 where nothing is returned, unless said.
    `errors` are the statuses that the function itself can answer; those of the shell are known. `media_type`, with
    `media_example`, counts for functions that return a `web.StreamResponse`. `scopes` are what the caller's token must
    have been made for, all of them. `headers` (name to description) are those that the answer has besides the shell's.
    `entry` replaces parts of the operation's entry in the document: for one that reads a body of another kind itself.
    """
    names = () if role is None else (role,) if isinstance(role, str) else role
    description = Description(
        method=method,
        path=path,
        summary=summary,
        roles=tuple(Role(name) for name in names),
        tags=tuple(tags),
        status=status,
        errors=tuple(errors),
        example=example,
        answer_example=answer_example,
        media_type=media_type,
        media_example=media_example,
        scopes=tuple(scopes),
        headers=dict(headers or {}),
        entry=entry,
    )

    def mark(function: _Function) -> _Function:
        function.__dict__[_MARK] = description
        return function

    return mark


@dataclass(frozen=True, slots=True)
class Parameter:
    """A path or query parameter.

    `name` is its name in the URL, `argument` the function's (`from_` for `from`, which Python keeps for itself). `kind`
    is the JSON type of one value, `many` whether it may be repeated.
    """

    name: str
    argument: str
    place: Literal["path", "query"]
    required: bool
    kind: str
    many: bool


@dataclass(frozen=True, slots=True)
class _Validators:
    """What reads an operation's request and writes its answer."""

    parameters: tuple[Parameter, ...]
    values: type[BaseModel]
    body: TypeAdapter[Any] | None
    answer: TypeAdapter[Any] | None


@dataclass(frozen=True)
class Operation:
    """A handler with everything that its signature says. Made by `inspect_handler`.

    What validates is built when it is first used: a server uses few of its operations, and each costs milliseconds and
    memory. `takes_body`, `returns` and `streams` are known without.
    """

    handler: Handler
    description: Description
    takes_body: bool
    returns: bool
    streams: bool

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What path and query hold."""
        return self._built.parameters

    @property
    def values(self) -> type[BaseModel]:
        """The model of path and query."""
        return self._built.values

    @property
    def body(self) -> TypeAdapter[Any] | None:
        """What validates the body, None if it takes none."""
        return self._built.body

    @property
    def answer(self) -> TypeAdapter[Any] | None:
        """What validates the answer, None if it returns nothing, or only ready responses."""
        return self._built.answer

    @functools.cached_property
    def _built(self) -> _Validators:
        with _one_at_a_time:
            return _validators(self.handler, self.description)

    def check(self) -> None:
        """Raise TypeError for types that cannot be served, and for an example that its own schema refuses."""
        built, told = self._built, self.description
        try:
            if told.example is not None and built.body is not None:
                built.body.validate_python(told.example, extra="forbid")
            if told.answer_example is not None and built.answer is not None:
                built.answer.validate_python(told.answer_example, extra="forbid")
        except ValidationError as error:
            raise TypeError(f"{self.id}: its example is not valid: {error}") from error

    @property
    def status(self) -> int:
        """The status of its success."""
        return self.description.status or (200 if self.returns or self.streams else 204)

    @property
    def id(self) -> str:
        """The operation's id: the function's name."""
        return self.handler.__name__

    def read_parameters(self, path: Mapping[str, str], query: MultiMapping[str]) -> dict[str, Any]:
        """Return the keyword arguments that path and query hold. Raises ProblemError 422 with every fault."""
        faults = [
            Fault(parameter=name[:100], detail="No such parameter; remove it or check its spelling.")
            for name in dict.fromkeys(query)
            if not any(one.name == name and one.place == "query" for one in self.parameters)
        ]
        given: dict[str, Any] = {}
        for one in self.parameters:
            texts = query.getall(one.name, []) if one.place == "query" else [path[one.name]]
            if fault := _text_fault(texts, one):
                faults.append(Fault(parameter=one.name, detail=fault))
            elif texts:
                values = [_to_json(text, one.kind) for text in texts]
                given[one.name] = values if one.many else values[0]
        if faults:
            raise ProblemError(422, "A parameter is invalid. See 'errors'.", errors=faults)
        try:
            model = self.values.model_validate_json(json.dumps(given), strict=True)
        except ValidationError as error:
            raise invalid_parameters(error) from error
        return {one.argument: getattr(model, _FIELD + one.argument) for one in self.parameters}

    def read_body(self, raw: bytes) -> Any:
        """Return the body's value. Raises ProblemError 400 if it is not JSON, 422 with a pointer to every fault."""
        if self.body is None:
            raise TypeError(f"{self.id} takes no body.")
        plain = parse(raw)
        try:
            return self.body.validate_json(raw, strict=True, extra="forbid")
        except ValidationError as error:
            raise invalid_body(error, plain) from error

    def write_answer(self, result: Any) -> bytes:
        """Return the answer's JSON. Raises ValidationError or PydanticSerializationError if it breaks its own schema.

        Every answer is read back, so that a NaN (which JSON cannot say) or a wrong type in a plain dataclass shows
        here and not at the client.
        """
        if self.answer is None:
            raise TypeError(f"{self.id} returned something though it is declared to return nothing.")
        value = self.answer.validate_python(result, from_attributes=True)
        raw = self.answer.dump_json(value, by_alias=True, warnings="error")
        self.answer.validate_json(raw, extra="ignore")
        return raw


@functools.cache  # so that what an operation built serves every API that holds it
def inspect_handler(handler: Handler) -> Operation:
    """Read a handler's signature. Raises TypeError, with the reason, for one that cannot be served.

    Whether its types can be read and written shows when they are first used, and in `Operation.check`.
    """
    description = getattr(handler, _MARK, None)
    if not isinstance(description, Description):
        raise TypeError(f"{handler!r} has no @operation.")
    hints = typing.get_type_hints(handler, include_extras=True)
    parameters = list(inspect.signature(handler).parameters.values())
    if not parameters or parameters[0].name.lstrip("_") != "context" or not inspect.iscoroutinefunction(handler):
        raise TypeError(
            f"{handler.__qualname__}: an operation is an async function whose first parameter is 'context'."
        )
    if missing := [name for name in [one.name for one in parameters[1:]] if name not in hints]:
        raise TypeError(f"{handler.__qualname__}: no type hint for {', '.join(missing)}.")
    if "return" not in hints:
        raise TypeError(f"{handler.__qualname__}: say what it returns, if only None.")
    if unnamed := set(_IN_PATH.findall(description.path)) - {one.name for one in parameters}:
        raise TypeError(f"{handler.__qualname__}: the path names {sorted(unnamed)}, the function does not.")
    streams, answer = _split_answer(hints["return"])
    return Operation(handler, description, "body" in hints, answer is not type(None), streams)


def read_by(operations: Sequence[Operation]) -> dict[str, Operation]:
    """Return for each PUT and PATCH (by id) the GET that reads what it changes: the one of the same address.

    Listings are not among them: what is put there is a part of what they return.
    """
    reads = {one.description.path: one for one in operations if one.description.method == "GET" and one.returns}
    changes = [one for one in operations if one.description.method in ("PUT", "PATCH")]
    pairs = [(one.id, reads.get(one.description.path)) for one in changes]
    return {name: read for name, read in pairs if read is not None and not _is_listing(_answer_of(read))}


def answers_alike(operation: Operation, other: Operation) -> bool:
    """Tell whether two operations return the same type."""
    return bool(_answer_of(operation) == _answer_of(other))


def _answer_of(operation: Operation) -> Any:
    return _split_answer(typing.get_type_hints(operation.handler, include_extras=True)["return"])[1]


def _is_listing(answer: Any) -> bool:
    return inspect.isclass(answer) and issubclass(answer, Page)


def _validators(handler: Handler, description: Description) -> _Validators:
    hints = typing.get_type_hints(handler, include_extras=True)
    parameters = list(inspect.signature(handler).parameters.values())
    fields = {one.name: (hints[one.name], one.default) for one in parameters[1:] if one.name != "body"}
    in_path = set(_IN_PATH.findall(description.path))
    values = _parameter_model(handler.__name__, fields)
    body = TypeAdapter(hints["body"]) if "body" in hints else None
    for adapter in (TypeAdapter(values), body):
        if adapter is not None and _has_naive_time(adapter.core_schema):
            raise TypeError(
                f"{handler.__qualname__}: use web.model.UtcTime: a plain datetime lets times without zone in."
            )
    schema = values.model_json_schema()
    _, answer = _split_answer(hints["return"])
    return _Validators(
        parameters=tuple(_parameter(name, name in in_path, schema) for name in fields),
        values=values,
        body=body,
        answer=None if answer is type(None) else TypeAdapter(answer),
    )


def _split_answer(answer: Any) -> tuple[bool, Any]:
    """Return whether a ready response may come back, and what else (NoneType: nothing)."""
    options = typing.get_args(answer) if typing.get_origin(answer) in {types.UnionType, typing.Union} else (answer,)
    ready = [one for one in options if inspect.isclass(one) and issubclass(one, web.StreamResponse)]
    rest = [one for one in options if one not in ready]
    if not ready:
        return False, answer
    return True, functools.reduce(operator.or_, rest) if rest else type(None)


def _has_naive_time(schema: Any) -> bool:
    if isinstance(schema, dict):
        if schema.get("type") == "datetime" and schema.get("tz_constraint") != "aware":
            return True
        return any(_has_naive_time(part) for part in schema.values())
    return isinstance(schema, list | tuple) and any(_has_naive_time(part) for part in schema)


def _parameter_model(name: str, fields: dict[str, tuple[Any, Any]]) -> type[BaseModel]:
    """Return the model that validates path and query. Its fields are prefixed: a parameter may be called `json`."""
    definitions: dict[str, Any] = {
        _FIELD + argument: (
            Annotated[hint, Field(alias=argument.rstrip("_"))],
            ... if default is inspect.Parameter.empty else default,
        )
        for argument, (hint, default) in fields.items()
    }
    config = ConfigDict(extra="forbid", allow_inf_nan=False)
    return create_model(f"{name}_parameters", __config__=config, **definitions)


def _parameter(argument: str, in_path: bool, schema: dict[str, Any]) -> Parameter:
    name = argument.rstrip("_")
    kind, many = _json_type(schema["properties"][name], schema.get("$defs", {}))
    required = in_path or name in schema.get("required", [])
    return Parameter(name, argument, "path" if in_path else "query", required, kind, many)


def _json_type(schema: dict[str, Any], definitions: dict[str, Any]) -> tuple[str, bool]:
    """Return the JSON type of one value, and whether it is a list of them."""
    schema = strip_null(schema)
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    kind = schema.get("type", "string")
    return (_json_type(schema["items"], definitions)[0], True) if kind == "array" else (kind, False)


def strip_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of `X | None` as that of `X`: a URL cannot say null, it can only leave out."""
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **options[0]} if len(options) == 1 else schema


def _text_fault(texts: list[str], parameter: Parameter) -> str | None:
    if len(texts) > (_MAX_PARAMETERS if parameter.many else 1):
        return "Given too often."
    if any(len(text) > _MAX_TEXT for text in texts):
        return f"At most {_MAX_TEXT} characters."
    if any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for text in texts for char in text):
        return "Control characters are not allowed."
    return None


def _to_json(text: str, kind: str) -> Any:
    """Return the JSON value that the text writes; text that writes none is left for the validation to name."""
    match kind:
        case "integer" if _INTEGER.fullmatch(text):
            return int(text)
        case "number" if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
            return number
        case "boolean" if text in {"true", "false"}:
            return text == "true"
        case _:
            return text
