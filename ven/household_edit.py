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
    path = path.resolve()  # where a link leads: the link itself stays
    before = _read(path)
    folder = load_household(path).templates
    written: list[Path] = []
    try:
        _check_writable(path)
        written = put_templates(folder, devices)
        _replace(path, _with(before, devices), before)
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


def _read(path: Path) -> str:
    """Return a file's text with the ends of its lines as they are. Raises InvalidError."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidError(f"{path} is not UTF-8: {error}.") from error
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}.") from error


def _check_writable(path: Path) -> None:
    """Raise ConflictError where a new file could not take the place of this one as its owner wants it."""
    there = path.stat()
    if not there.st_mode & 0o222:
        raise ConflictError(f"{path} is read-only: `chmod u+w {path}` lets it be changed.")
    if os.geteuid() not in (0, there.st_uid):
        raise ConflictError(f"{path} belongs to another user: run this as that one.")


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
    lines = text.removeprefix("\ufeff").splitlines(keepends=True)
    if household.fa.flow_style():
        raise ConflictError("The file stands in braces, {...}: write each of its names on a line of its own.")
    marks = [number for number, line in enumerate(lines, 1) if line.rstrip() in ("...", "---")]
    if marks and any(line.strip() and not line.startswith(("#", "%")) for line in lines[: marks[-1] - 1]):
        raise ConflictError(f"Line {marks[-1]} ends the file for a reader of YAML: take it out.")
    end_of_line = "\r\n" if lines[0].endswith("\r\n") else "\n"
    if not lines[-1].endswith(("\n", "\r")):
        lines[-1] += end_of_line
    entries = household.get("devices")
    rows = [row(device) + end_of_line for device in devices]
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    if not entries:
        kept = lines if "devices" not in household else _without(lines, household.lc.key("devices")[0])
        return "".join([bom, *kept, f"devices:{end_of_line}", *(f"  - {row}" for row in rows)])
    if entries.fa.flow_style():
        raise ConflictError("The devices stand in brackets, [...]: write each on a line of its own, after a dash.")
    begin, _ = household.lc.key("devices")
    first, _ = entries.lc.item(0)
    indent = " " * lines[first].index("-")
    end = min((line for name in household if (line := household.lc.key(name)[0]) > begin), default=len(lines))
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    return "".join([bom, *lines[:end], *(f"{indent}- {row}" for row in rows), *lines[end:]])


def _without(lines: Sequence[str], line: int) -> list[str]:
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


def _make_like(draft: Path, there: os.stat_result) -> None:
    """Give a file the owner and the permissions of another one: the gateway may run as somebody else than us."""
    with suppress(PermissionError):  # of a group that is not ours; `_check_writable` has looked at the owner
        os.chown(draft, there.st_uid, there.st_gid)
    draft.chmod(there.st_mode & 0o777)


def _replace(path: Path, text: str, before: str | None = None) -> None:
    """Put a text in the place of a household file at once, if it is a good one; the owner stays the same.

    Raises ConflictError where the file says no longer what it said `before`.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".yaml")
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            load_household(draft)
        except InvalidError as error:
            raise InvalidError(str(error).replace(str(draft), str(path))) from error
        draft.chmod(0o600)
        if before is not None:
            _make_like(draft, path.stat())
            if _read(path) != before:
                raise ConflictError(f"{path} was changed meanwhile by somebody else: nothing was written; try again.")
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
