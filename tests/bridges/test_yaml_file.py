"""Files that people write: what they may hold, and where a fault is said to be."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bridges.yaml_file import FileError, Place, YamlFile, names_at


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sizes: list[int]
    words: dict[str, str] = {}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_values_are_plain(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, "a: &a {x: [1, on]}\nb: *a\n"), "device")
    assert file.values == {"a": {"x": [1, "on"]}, "b": {"x": [1, "on"]}}
    assert type(file.values["a"]) is dict


def test_a_fault_has_its_place_or_the_nearest_one(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, "sizes:\n  - 1\n  - two\nwords:\n  x: [1]\n"), "device")
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(file.values)
    first, second = file.faults(caught.value)
    assert (first.line, first.column, first.text.split(":")[0]) == (3, 5, "sizes.1")
    assert (second.line, second.column, second.text.split(":")[0]) == (5, 3, "words.x")
    assert str(file.fault(("words", "nowhere"), "odd")) == f"{tmp_path / 'some.yaml'}:4:1: odd"


def test_many_faults_are_not_all_told(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, "a: 1\n"), "device")
    assert str(FileError([file.fault(("a",), "x")] * 100)).endswith("... and 80 more.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- 1\n", "is a mapping"),
        ("", "is a mapping"),
        ("a: {b: [", "some.yaml:1:"),
        ("a: " + "[" * 5000 + "]" * 5000, "beyond any device"),
        ("a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 80)), "some.yaml"),
        ("x: " + "a" * 300_000, "longer than"),
    ],
)
def test_what_is_without_bounds_or_no_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        YamlFile(written(tmp_path, text), "device")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: {secret: geheim, secret: other}\n", "2:21: secret stands there twice"),
        ("a: 1\n---\nb: 1\n", "2:1: A second document begins here"),
        ("a: 1\nb:\n\t- 1\n", "3:1: A tab stands here: indent with spaces"),
        ("a: 1\nb: 2026-02-30\n", "2:4: '2026-02-30' looks like a number or a date, and is none"),
        ("a: 1\nb: [" + "9" * 5000 + "]\n", "2:5: '9999999999999999999999999999999999999999' looks like a number"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_place_and_without_secrets(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FileError) as caught:
        YamlFile(written(tmp_path, text), "device")
    assert f"some.yaml:{said}" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_an_unknown_name_is_told_with_the_nearest_that_there_is(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, "sizes: [1]\nwrods: {}\n"), "device")
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(file.values)
    (fault,) = file.faults(caught.value, model=Model)
    assert fault.text == "wrods: unknown name; do you mean words?"


def test_a_text_with_a_nul_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"some\.yaml:2:10: b\.1: holds the character NUL"):
        YamlFile(written(tmp_path, 'a: 1\nb: ["x", "y\\0z"]\n'), "device")


def test_names_drive_no_terminal(tmp_path: Path) -> None:
    file = YamlFile(written(tmp_path, 'sizes: [1]\n"\\e[31mred": 1\n'), "device")
    with pytest.raises(ValidationError) as caught:
        Model.model_validate(file.values)
    assert r"\x1b[31mred: unknown name" in str(FileError(file.faults(caught.value)))


class Inner(BaseModel):
    power: int = 0
    with_: int = Field(0, alias="with")


class Outer(BaseModel):
    lists: tuple[Inner, ...] | None = None
    tables: dict[int, dict[str, Inner]] = {}
    either: Annotated[str | Inner, Field(max_length=9)] = ""
    number: int = 0


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ((), ["lists", "tables", "either", "number"]),
        (("lists", 3), ["power", "with"]),
        (("tables", 1, "a"), ["power", "with"]),
        (("either",), ["power", "with"]),
        (("number",), []),
        (("number", "more"), []),
        (("nowhere", 1), []),
        (("tables", 1), []),
    ],
)
def test_the_names_of_a_section_are_those_of_its_model(place: Place, names: list[str]) -> None:
    assert names_at(Outer, place) == names
