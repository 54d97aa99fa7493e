"""Writing into a household file: what is added is checked first, and everything else stays as its owner wrote it."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bridges.yaml_text import yaml_text
from core.errors import ConflictError, InvalidError, UnavailableError
from ven.household_file import load_household


@dataclass(frozen=True, slots=True)
class NewDevice:
    """A device to be added: its entry in the file, and the text of its own template, if it needs one."""

    id: str
    driver: str
    role: str
    options: Mapping[str, Any]
    template: str | None = None


def add_devices(path: Path, devices: Sequence[NewDevice]) -> None:
    """Add devices to a household file, and their templates to its folder of templates; comments stay.

    Nothing is written that `evenload ven check` would refuse. Raises InvalidError for a file that is no good before or
    after, ConflictError for a template of that name with other contents, UnavailableError if it cannot be written.
    """
    folder = load_household(path).templates
    written: list[Path] = []
    try:
        written = put_templates(folder, devices)
        _replace(path, _with(path.read_text(encoding="utf-8"), devices))
    except OSError as error:
        _drop(written)
        raise UnavailableError(f"{path} cannot be changed: {error.strerror}.") from error
    except BaseException:
        _drop(written)
        raise


def put_templates(folder: Path, devices: Sequence[NewDevice]) -> list[Path]:
    """Write the templates of devices that need one of their own; return those that are new. Raises ConflictError."""
    written: list[Path] = []
    try:
        for device in devices:
            if device.template is not None:
                written += _put(folder / f"{device.driver}.yaml", device.template)
    except BaseException:
        _drop(written)
        raise
    return written


def write_new(path: Path, text: str) -> None:
    """Write a household file where there is none, if it is a good one. Raises InvalidError, UnavailableError."""
    try:
        _replace(path, text)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}.") from error


def _put(place: Path, text: str) -> list[Path]:
    """Write a template where there is none; return what was written."""
    if place.exists():
        if place.read_text(encoding="utf-8") != text:
            raise ConflictError(f"{place} is there already, with other contents: move it away, or keep its device.")
        return []
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    return [place]


def _drop(written: Sequence[Path]) -> None:
    for place in written:
        with suppress(OSError):
            place.unlink()


def _with(text: str, devices: Sequence[NewDevice]) -> str:
    """Return a household file with these devices behind the others; every other line stays as it is."""
    household = YAML().load(text)
    entries = household.get("devices")
    lines = text.splitlines()
    rows = [row(device) for device in devices]
    if not entries:
        kept = lines if "devices" not in household else _without(lines, *household.lc.key("devices"))
        return "\n".join([*kept, "devices:", *(f"  - {row}" for row in rows), ""])
    if entries.fa.flow_style():
        raise ConflictError("The devices stand in brackets, [...]: write each on a line of its own, after a dash.")
    begin, _ = household.lc.key("devices")
    first, _ = entries.lc.item(0)
    indent = " " * lines[first].index("-")
    end = min((line for name in household if (line := household.lc.key(name)[0]) > begin), default=len(lines))
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    return "\n".join([*lines[:end], *(f"{indent}- {row}" for row in rows), *lines[end:], ""])


def _without(lines: Sequence[str], line: int, _column: int) -> list[str]:
    """Return the lines without that of an empty list."""
    if lines[line].split("#")[0].split() != ["devices:", "[]"]:
        raise ConflictError("The empty list of devices cannot be replaced: write it as `devices: []`.")
    return [*lines[:line], *lines[line + 1 :]]


def row(device: NewDevice, nominal_w: float | None = None) -> str:
    """Return an entry as one line."""
    entry: dict[str, Any] = {"id": device.id, "driver": device.driver}
    if device.role:
        entry["role"] = device.role
    if nominal_w is not None:
        entry["nominal_w"] = int(nominal_w) if nominal_w.is_integer() else nominal_w
    if device.options:
        entry["with"] = dict(device.options)
    return yaml_text(entry, flow=True).strip()


def _replace(path: Path, text: str) -> None:
    """Put a text in the place of a household file at once, if it is a good one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".yaml")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            load_household(draft)
        except InvalidError as error:
            raise InvalidError(str(error).replace(str(draft), str(path))) from error
        draft.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
