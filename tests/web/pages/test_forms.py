"""Forms as values: what is read, what is refused, what is kept."""

from datetime import datetime
from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, NaiveDatetime

from core.errors import ConflictError, ForbiddenError, InvalidError
from web.model import Model
from web.pages.forms import Form, parse_form, parse_parts
from web.problem import ProblemError


class Inner(Model):
    start: str
    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(default_factory=list)


class Checked(Model):
    name: Annotated[str, AfterValidator(str.upper), Field(max_length=3)]
    at: Annotated[NaiveDatetime, Field(ge=datetime(2000, 1, 1))]  # noqa: DTZ001  local


class Wish(Model):
    name: Annotated[str, Field(max_length=10)]
    count: int | None = None
    strict: bool = False
    tags: list[str] = Field(default_factory=list)
    inner: Inner | None = None
    windows: list[Inner] = Field(default_factory=list)


def test_names_say_where_a_value_belongs():
    form = parse_form(
        "name=Ann&count=3&strict=true&tags[]=a&tags[]=&tags[]=b&inner.start=now"
        "&windows.0.start=&windows.2.start=x&windows.2.days[]=1&windows.2.days[]=5&windows.10.start=y&csrf=zzz"
    )
    assert form.read(Wish) == Wish(
        name="Ann",
        count=3,
        strict=True,
        tags=["a", "b"],
        inner=Inner(start="now"),
        windows=[Inner(start="x", days=[1, 5]), Inner(start="y")],
    )


def test_blank_fields_leave_the_default():
    assert parse_form("name=%20Ann%20&count=&strict=").read(Wish) == Wish(name="Ann")


def test_each_fault_stands_at_its_field_and_what_was_typed_stays():
    form = parse_form("name=much+too+long&count=many&windows.0.start=a&windows.0.days[]=9&other=1")
    with form.catching():
        form.read(Wish)
    assert form.failed
    assert set(form.errors) == {"name", "count", "windows.0.days[]", "other"}
    assert form.error("count") == "Enter a whole number."
    assert form.value("name") == "much too long"
    assert form.values("windows.0.days[]") == ("9",)


def test_a_text_and_a_time_that_are_checked_twice_are_spoken_of_as_such():
    form = parse_form("name=abcd&at=1999-12-31T00:00")
    with form.catching():
        form.read(Checked)
    assert form.errors == {"name": "Enter at most 3 characters.", "at": "Enter a time from 2000-01-01 00:00 on."}


def test_a_missing_field_is_required():
    form = parse_form("count=1&name=")
    with form.catching():
        form.read(Wish)
    assert form.errors == {"name": "This is required."}


def test_errors_of_services_go_to_the_field_that_they_name():
    form = parse_form("name=a&count=1")
    with form.catching():
        raise InvalidError("That is too few.", field="count")
    with form.catching():
        raise InvalidError("It stays as it is.", field="unknown")
    with form.catching("name"):
        raise ConflictError("It is taken.")
    assert form.errors == {"count": "That is too few.", "": "It stays as it is.", "name": "It is taken."}
    assert form.others("count", "name") == {"": "It stays as it is."}


def test_what_nobody_can_mend_in_the_form_goes_on():
    form = parse_form("name=a")
    with pytest.raises(ForbiddenError), form.catching():
        raise ForbiddenError("No.")
    assert not form.failed


def test_a_fresh_form_shows_what_is_there_a_sent_one_what_was_typed():
    fresh, sent = Form(), parse_form("other=1")
    assert (fresh.value("name", "old"), sent.value("name", "old")) == ("old", "")
    assert (fresh.values("tags[]", ("a",)), sent.values("tags[]", ("a",))) == (("a",), ())
    assert fresh.value("name", None) == ""


def test_of_several_forms_only_the_one_that_was_sent_shows_what_was_typed():
    sent = parse_form("name=x", "/groups/1/name")
    sent.fail("It is taken.", "name")
    other, own = sent.of("/groups"), sent.of("/groups/1/name", "1")
    assert (other.failed, other.was_sent, own.error("name"), own.key) == (False, False, "It is taken.", "1")
    assert not sent.is_told
    assert own.label("name", "New name") == "New name"
    assert own.tell() == [("name", "New name: It is taken.")]
    assert sent.is_told
    query = parse_form("name=x")
    assert [query.of(path, "k").value("name") for path in ("/a", "/b")] == ["x", "x"]


@pytest.mark.parametrize("text", ["a.b.c.d.e.f.g=1", "a=1&a.b=2", "a.b=1&a.b.c=2", "inner=1&inner.start=2"])
def test_names_that_contradict_each_other_are_refused(text):
    form = parse_form(text)
    with form.catching():
        form.read(Wish)
    assert form.failed


PARTS = (
    b'--b0\r\nContent-Disposition: form-data; name="csrf"\r\n\r\nsecret\r\n'
    b'--b0\r\nContent-Disposition: form-data; name="csv"; filename="a.csv"\r\nContent-Type: text/csv\r\n\r\n'
    b"\xef\xbb\xbfa,b\r\n1,\xc3\xbc\r\n\r\n--b0--\r\n"
)
KIND = "multipart/form-data; boundary=b0"


@pytest.mark.parametrize("kind", [KIND, 'Multipart/Form-Data; charset=utf-8; Boundary="b0"'])
def test_a_file_is_read_as_its_text(kind):
    form = parse_parts(PARTS, kind, "/meter-data")
    assert (form.value("csrf"), form.value("csv"), form.action) == ("secret", "a,b\n1,\u00fc\n", "/meter-data")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PARTS[:-10], KIND),
        (b"", KIND),
        (PARTS, "multipart/form-data"),
        (PARTS, "multipart/form-data; boundary=other"),
        (PARTS.replace(b"\xc3\xbc", b"\xff"), KIND),
        (PARTS.replace(b"1,", b"\0"), KIND),
        (PARTS.replace(b'name="csv"', b"name=csv"), KIND),
        (PARTS.replace(b"form-data", b"attachment"), KIND),
        (b"--b0" + b"\r\n--b0" * 6000 + b"--", KIND),
        (b"--b0\r\n" * 20_000, KIND),
    ],
)
def test_parts_that_no_browser_writes_are_refused(body, kind):
    with pytest.raises(ProblemError) as caught:
        parse_parts(body, kind)
    assert caught.value.status == 400


@pytest.mark.parametrize("text", ["name=%ff", "name=%00", "&".join("a=b" for _ in range(6000))])
def test_what_no_browser_sends_is_refused(text):
    with pytest.raises(ProblemError) as caught:
        parse_form(text)
    assert caught.value.status == 400
