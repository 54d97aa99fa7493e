"""Forms: what was typed, what it means, and what is wrong next to the field where it is wrong.

    form = await request.form()
    with form.catching():
        wish = form.read(NewProgramme)              # a pydantic model; what is wrong stops here
        async with request.desk.db.write() as tx: ...  # and so do the errors of services
        return request.redirect("/programmes", notice="Created.")
    return request.render("programmes/new.html", form=form)   # 422, with everything that was typed

Names of fields: `limits.per_day` is a member of a member, `windows.0.start` one of a list, `ven_ids[]` a list by
repetition. A field that was left blank is left out, so that the model's default counts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from core.errors import ConflictError, EvenloadError, InvalidError, NotFoundError
from web.pages.translations import N_
from web.pages.translations import gettext as _
from web.problem import ProblemError

M = TypeVar("M", bound=BaseModel)

MAX_FIELDS: Final = 5000
CSRF_FIELD: Final = "csrf"
_MAX_DEPTH: Final = 6
_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"(?P<quoted>[^"\r\n]{1,70})"|(?P<plain>[^\s;"]{1,70}))', re.IGNORECASE)
_PART_NAME: Final = re.compile(
    r'^content-disposition: *form-data; *name="(?P<name>[^"\r\n]{1,200})"', re.IGNORECASE | re.MULTILINE
)
_PLAIN_WORDS: Final[Mapping[str, str]] = {
    "missing": N_("This is required."),
    "extra_forbidden": N_("There is no field of this name."),
    "int_parsing": N_("Enter a whole number."),
    "int_from_float": N_("Enter a whole number."),
    "int_parsing_size": N_("This number is too large."),
    "float_parsing": N_("Enter a number."),
    "decimal_parsing": N_("Enter a number."),
    "finite_number": N_("Enter a number."),
    "bool_parsing": N_("Choose yes or no."),
    "enum": N_("Choose an option from the list."),
    "literal_error": N_("Choose an option from the list."),
    "string_too_short": N_("Enter at least %(min_length)s characters."),
    "string_too_long": N_("Enter at most %(max_length)s characters."),
    "string_pattern_mismatch": N_("This is not in the right format."),
    "too_short": N_("Choose at least %(min_length)s."),
    "too_long": N_("Choose at most %(max_length)s."),
    "greater_than": N_("Enter more than %(gt)s."),
    "greater_than_equal": N_("Enter %(ge)s or more."),
    "less_than": N_("Enter less than %(lt)s."),
    "less_than_equal": N_("Enter %(le)s or less."),
    "greater_than_equal, time": N_("Enter a time from %(ge)s on."),
    "less_than_equal, time": N_("Enter a time up to %(le)s."),
    "date_parsing": N_("Enter a date such as 2026-01-31."),
    "date_from_datetime_parsing": N_("Enter a date such as 2026-01-31."),
    "datetime_parsing": N_("Enter a date and time such as 2026-01-31 17:30."),
    "datetime_from_date_parsing": N_("Enter a date and time such as 2026-01-31 17:30."),
    "timezone_naive": N_("Enter a local time, without a time zone."),
}
"""Kind of a finding of pydantic -> what to say, with the finding's own context. Other findings speak for themselves."""


class FormError(EvenloadError):
    """A form that cannot be read as it is; the form itself knows what is wrong where."""


class Form:
    """What was typed into a form (or a filter), and what is wrong with it. An empty one stands for a fresh form.

    `action`: the address that it was sent to. `key` begins the ids of its fields on a page.
    """

    def __init__(self, typed: Mapping[str, list[str]] | None = None, action: str = "", key: str = "") -> None:
        self._typed = dict(typed or {})
        self.action = action
        self.key = key
        self.errors: dict[str, str] = {}
        """Name of the field -> what is wrong; "" for the form as a whole."""
        self.labels: dict[str, str] = {}
        """Name of the field -> what the page calls it."""
        self.is_told = False

    def of(self, action: str, key: str = "") -> "Form":
        """Return what one form of a page with several shows: this one, if it was sent to its action, else a fresh one.

        `key` tells its fields from those of the same name in the page's other forms.
        """
        if not self.action:
            return Form(self._typed, key=key)
        if self.action != action:
            return Form(key=key)
        self.key = key
        return self

    def label(self, name: str, text: str) -> str:
        """Note what the page calls a field, for the list of what is wrong; return it."""
        self.labels[name] = text
        return text

    def tell(self) -> list[tuple[str, str]]:
        """Return what is wrong, by field, for the one place of a page that says so; with the fields' labels."""
        self.is_told = True
        return [
            (name, f"{self.labels[name]}: {text}" if name in self.labels else text)
            for name, text in self.errors.items()
        ]

    @property
    def was_sent(self) -> bool:
        """Tell whether anything was typed: then a box that is not ticked was left so."""
        return bool(self._typed)

    @property
    def failed(self) -> bool:
        """Tell whether something is wrong."""
        return bool(self.errors)

    def value(self, name: str, otherwise: object = "") -> str:
        """Return what was typed into a field; `otherwise` in a fresh form."""
        typed = self._typed.get(name)
        if typed is not None:
            return typed[-1]
        return "" if self.was_sent or otherwise is None else str(otherwise)

    def values(self, name: str, otherwise: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return every value of a repeated field."""
        return tuple(self._typed.get(name, ())) if self.was_sent else otherwise

    def names(self) -> tuple[str, ...]:
        """Return the names of the fields that were sent."""
        return tuple(self._typed)

    def error(self, name: str) -> str | None:
        """Return what is wrong with a field."""
        return self.errors.get(name)

    def others(self, *shown: str) -> dict[str, str]:
        """Return the errors that belong to none of the fields `shown`, for the top of the form."""
        return {name: text for name, text in self.errors.items() if name not in shown}

    def fail(self, error: EvenloadError | str, name: str = "") -> None:
        """Say what is wrong, by default with the field that the error names, or with the whole form."""
        field = error.field if isinstance(error, EvenloadError) else None
        if not name and field in self._typed:
            name = field
        self.errors.setdefault(name, str(error))

    @contextmanager
    def catching(self, name: str = "") -> Iterator[None]:
        """Keep errors that the user can mend (422, 409, 404 of what was named) in the form instead of raising them."""
        try:
            yield
        except FormError:
            pass
        except (InvalidError, ConflictError, NotFoundError) as error:
            self.fail(error, name)

    def read(self, kind: type[M]) -> M:
        """Return the form as a model. Raises FormError, caught by `catching`, with every fault noted."""
        try:
            return kind.model_validate(_nested(self._typed))
        except ValidationError as error:
            for one in error.errors(include_url=False, include_input=False):
                self.fail(_explained(one), self._field(one["loc"]))
            raise FormError("The form has faults.") from error

    def _field(self, loc: tuple[int | str, ...]) -> str:
        """Return the field that a finding of pydantic is about."""
        steps = [str(step) for step in loc]
        for length in range(len(steps), 0, -1):
            name = ".".join(steps[:length])
            for candidate in (name, f"{name}[]"):
                if candidate in self._typed:
                    return candidate
        return ".".join(steps)


def _explained(finding: ErrorDetails) -> str:
    kind, context = finding["type"], dict(finding.get("ctx", {}))
    if kind in ("too_short", "too_long") and context.get("field_type") == "Value":
        kind = f"string_{kind}"  # of a text that was checked for something else before
    for name, value in context.items():
        if name in ("ge", "le") and isinstance(value, str):
            kind, context[name] = f"{kind}, time", value.replace("T", " ")[: len("2026-01-31 17:30")]
    text = _PLAIN_WORDS.get(kind)
    if text is None:
        return finding["msg"].removeprefix("Value error, ")
    return _(text, **context)


def _nested(typed: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the fields as JSON would hold them."""
    tree: dict[str, Any] = {}
    for name, values in typed.items():
        filled = [value for value in (one.strip() for one in values) if value]
        if not filled or name == CSRF_FIELD:
            continue
        steps = name.removesuffix("[]").split(".")
        if len(steps) > _MAX_DEPTH:
            raise InvalidError(_("There is no field %(name)s.", name=name[:80]))
        here = tree
        for step in steps[:-1]:
            below = here.setdefault(step, {})
            if not isinstance(below, dict):
                raise InvalidError(_("There is no field %(name)s.", name=name[:80]))
            here = below
        here[steps[-1]] = filled if name.endswith("[]") else filled[-1]
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    """Turn {"0": a, "2": b} into [a, b]."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


async def read_form(request: web.Request) -> Form:
    """Read a form's body; of a file, its text. Raises ProblemError for what no browser sends for our forms."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ProblemError(415, _("Send the form without compression."))
    if request.content_type == "application/x-www-form-urlencoded":
        return parse_form((await request.read()).decode("ascii", "replace"), request.path)
    if request.content_type == "multipart/form-data":
        return parse_parts(await request.read(), request.headers["Content-Type"], request.path)
    raise ProblemError(415, _("Send the form from its page."))


def parse_form(text: str, action: str = "") -> Form:
    """Read fields as browsers write them into a form's body or an address. Raises ProblemError 400."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except (ValueError, UnicodeDecodeError) as error:
        raise ProblemError(
            400, _("The form can't be read. It may have at most %(count)s fields, in UTF-8.", count=MAX_FIELDS)
        ) from error
    return _form_of(pairs, action)


def parse_parts(body: bytes, content_type: str, action: str = "") -> Form:
    """Read a form with files, as browsers write it (RFC 7578): fields and files alike are text, in UTF-8.

    Raises ProblemError 400. Linear in the body, whose size the application limits.
    """
    found = _BOUNDARY.search(content_type)
    delimiter = b"\r\n--" + (found["plain"] or found["quoted"]).encode() if found else b""
    _before, *parts = (b"\r\n" + body).split(delimiter, MAX_FIELDS + 1) if delimiter else [b""]
    if not parts or not parts[-1].startswith(b"--"):  # cut off, or too many
        raise ProblemError(
            400, _("The form can't be read. It may have at most %(count)s fields, in UTF-8.", count=MAX_FIELDS)
        )
    pairs = []
    for part in parts[:-1]:
        head, _blank, value = part.partition(b"\r\n\r\n")
        try:
            name = _PART_NAME.search(head.decode())
            text = value.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ProblemError(400, _("The file is not a text in UTF-8. Save it as one, and send it again.")) from error
        if name is None:
            raise ProblemError(400, _("Send the form from its page."))
        pairs.append((name["name"], text))
    return _form_of(pairs, action)


def _form_of(pairs: Iterable[tuple[str, str]], action: str) -> Form:
    typed: dict[str, list[str]] = {}
    for name, value in pairs:
        if "\0" in name or "\0" in value:
            raise ProblemError(400, _("A field contains an invalid character (U+0000)."))
        typed.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Form(typed, action)
