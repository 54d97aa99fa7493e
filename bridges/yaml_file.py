"""YAML files that people write: bounded, and every fault is named with file, line and column."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError, DuplicateKeyError, RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node

from core.errors import InvalidError
from core.fault_words import fault_words, near_words

_MOST_BYTES: Final = 200_000
_MOST_NODES: Final = 50_000
_MOST_NESTED: Final = 50
_MOST_FAULTS: Final = 20
_LONGEST_SHOWN: Final = 40
_TWICE: Final = re.compile(r'found duplicate key "(.{1,80}?)" with value', re.DOTALL)
_PROBLEMS: Final = {
    "but found another document": "A second document begins here: take this line, and what follows, out.",
    r"'\t' that cannot start any token": "A tab stands here: indent with spaces.",
}
"""Words of the YAML reader, and ours."""

Place = tuple[str | int, ...]
"""The way from the top of a file to one of its values: names in mappings, positions in lists."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where: `line` and `column` count from 1, 0 means the file as a whole."""

    file: Path
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        text = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in self.text)
        return f"{self.file}:{self.line}:{self.column}: {text}" if self.line else f"{self.file}: {text}"


class FileError(InvalidError):
    """A file cannot be used; `faults` says why."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        shown = [str(fault) for fault in faults[:_MOST_FAULTS]]
        if len(faults) > _MOST_FAULTS:
            shown.append(f"... and {len(faults) - _MOST_FAULTS} more.")
        super().__init__("\n".join(shown))
        self.faults = tuple(faults)


class YamlFile:
    """A mapping in a file: its values as plain lists and dicts, and where in the file each stands.

    `what` names such a file in errors. Raises FileError for what cannot be read, is no mapping, or is without bounds.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._what = what
        self._tree = self._parse()
        if not isinstance(self._tree, dict):
            raise FileError([Fault(path, 1, 1, f"A {what} file is a mapping of names to values.")])
        self.values: dict[str, Any] = self._plain()

    def fault(self, place: Place, text: str) -> Fault:
        """Return a fault at a place, or at the deepest part of it that the file holds (unions add parts)."""
        line, column = 0, 0
        node = self._tree
        for part in place:
            try:
                if isinstance(node, dict) and part in node:
                    line, column = node.lc.key(part)  # type: ignore[attr-defined]  # ruamel's mapping knows its lines
                elif isinstance(node, list) and isinstance(part, int) and part < len(node):
                    line, column = node.lc.item(part)  # type: ignore[attr-defined]
                else:
                    continue
            except (AttributeError, KeyError, TypeError):
                break
            node = node[part]
        return Fault(self.path, line + 1, column + 1, text)

    def faults(self, error: ValidationError, prefix: Place = (), model: type[BaseModel] | None = None) -> list[Fault]:
        """Return what a model found wrong with the values at `prefix`; `model` tells which names there are."""
        faults = []
        for fault in error.errors(include_url=False, include_context=False):
            place, unknown = (*prefix, *fault["loc"]), "unknown name"
            if fault["type"] == "extra_forbidden" and model is not None:
                unknown += near_words(str(place[-1]), names_at(model, fault["loc"][:-1]))
            text = fault_words(fault["type"], fault["msg"], fault["input"], unknown=unknown)
            faults.append(self.fault(place, f"{_named(place)}{text}"))
        return faults

    def _parse(self) -> Any:
        path = self.path
        try:
            text = path.read_bytes()
            if len(text) > _MOST_BYTES:
                raise FileError([Fault(path, 0, 0, f"The file is longer than {_MOST_BYTES} bytes.")])
            if _nested(text) > _MOST_NESTED:
                raise self._unbounded()
            return _reader().load(text.decode("utf-8"))
        except OSError as error:
            raise FileError([Fault(path, 0, 0, f"The file cannot be read: {error.strerror}.")]) from error
        except UnicodeDecodeError as error:
            raise FileError([Fault(path, 0, 0, f"The file is not UTF-8: {error}.")]) from error
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise FileError([Fault(path, line, column, _problem(error))]) from error
        except (YAMLError, RecursionError, ValueError) as error:
            raise FileError([Fault(path, 0, 0, f"The file is not YAML: {error}.")]) from error

    def _unbounded(self) -> FileError:
        return FileError([Fault(self.path, 0, 0, f"The file is nested or repeated beyond any {self._what}.")])

    def _plain(self) -> Any:
        """Return plain lists and dicts; a file that grows without end through aliases is refused."""
        count = 0

        def walk(node: Any, place: Place) -> Any:
            nonlocal count
            count += 1
            if count > _MOST_NODES or len(place) > _MOST_NESTED:
                raise self._unbounded()
            if isinstance(node, dict):
                return {key: walk(value, (*place, key)) for key, value in node.items()}
            if isinstance(node, list):
                return [walk(value, (*place, index)) for index, value in enumerate(node)]
            if isinstance(node, str) and "\0" in node:  # in a path, or a topic, it ends the text for whoever reads it
                raise FileError([self.fault(place, f"{_named(place)}holds the character NUL (\\0): take it out.")])
            return node

        return walk(self._tree, ())


class _Constructor(RoundTripConstructor):
    """Makes values, and says where one cannot be made: a day that there is not, a number of thousands of digits."""

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Return the value of a node. Raises ConstructorError."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError) as error:
            what = str(getattr(node, "value", ""))[:_LONGEST_SHOWN]
            raise ConstructorError(
                None, None, f"'{what}' looks like a number or a date, and is none: put it in quotes", node.start_mark
            ) from error


def _reader() -> YAML:
    reader = YAML(typ="rt")
    reader.Constructor = _Constructor
    return reader


def _problem(error: MarkedYAMLError) -> str:
    """Return what is wrong in a file that is not YAML; values, which may be secrets, are not repeated."""
    problem = str(error.problem or error.context or "not YAML")
    if isinstance(error, DuplicateKeyError):
        match = _TWICE.match(problem)
        return f"{match[1] if match else 'A name'} stands there twice; each name has one place in a section."
    for theirs, ours in _PROBLEMS.items():
        if theirs in problem:
            return ours
    return problem


def _nested(text: bytes) -> int:
    """Return how deep brackets are nested at most, those in strings and comments included; costs the parser dearly."""
    depth = deepest = 0
    for byte in text:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _named(place: Place) -> str:
    names = [str(part) for part in place if part != "[key]"]  # pydantic's word for a fault in a mapping's key
    return f"{'.'.join(names)}: " if names else ""


def names_at(model: type[BaseModel], place: Iterable[str | int]) -> list[str]:
    """Return the names that a section has, by the way from the top of a model; none where that is not known."""
    kinds: list[Any] = [model]
    for part in place:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return [field.alias or name for kind in kinds if _is_model(kind) for name, field in kind.model_fields.items()]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: str | int) -> list[Any]:
    """Return the kinds of value that stand under a name, or at a place, of a value of some kind."""
    if _is_model(kind):
        fields = {field.alias or name: field for name, field in kind.model_fields.items()}
        return _plain(fields[part].annotation) if part in fields else []
    origin, inner = get_origin(kind), get_args(kind)
    if origin is dict:
        return _plain(inner[1])
    return _plain(inner[0]) if origin in (list, tuple) and inner else []


def _plain(kind: Any) -> list[Any]:
    """Return the kinds that a union, or what is annotated, stands for."""
    if get_origin(kind) in (UnionType, Union):
        return [each for member in get_args(kind) for each in _plain(member)]
    return _plain(get_args(kind)[0]) if get_origin(kind) is Annotated else [kind]
