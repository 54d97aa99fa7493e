"""The language of a page: catalogues of gettext, and the one that a request asks for (RFC 9110, Accept-Language).

Texts are written in English in templates and code, and are what catalogues are searched by; without a catalogue they
are shown as they are. A text is a whole sentence, with its placeholders by name, and a plural has both forms:

    from web.pages.translations import N_, gettext as _, ngettext

    notice = _("Version %(version)s applies from now on.", version=number)
    title = ngettext("%(count)s VEN", "%(count)s VENs", n, count=show_number(n))
    NavEntry(N_("Fleet"), ...)        # at import time: marked here, translated by _(entry.title) where it is shown

Every text is a format: a per cent sign is written twice. Templates have `_` and `ngettext` with the same rules.
"""

import gettext as gnu
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENGLISH: Final = "en"
_MOST_CHARACTERS: Final = 1000
_MOST_RANGES: Final = 32
_RANGE: Final = re.compile(r"[a-z]{1,8}(?:-[a-z0-9]{1,8}){0,8}|\*", re.ASCII)
_WEIGHT: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Language:
    """A language: its tag (BCP 47), for `<html lang>`, and its texts."""

    tag: str
    catalogue: gnu.NullTranslations


_ENGLISH: Final = Language(ENGLISH, gnu.NullTranslations())
_speaking: ContextVar[Language] = ContextVar("language", default=_ENGLISH)


class Languages:
    """The languages of an application: English, and those that its sections have catalogues for."""

    def __init__(self, directories: Iterable[Path] = ()) -> None:
        """Read `LOCALE/LC_MESSAGES/messages.mo` in each directory; the first that has a text wins.

        Raises OSError or UnicodeDecodeError for a file that is no catalogue.
        """
        self._by_tag = {ENGLISH: _ENGLISH}
        for directory in directories:
            for path in sorted(directory.glob("*/LC_MESSAGES/messages.mo")):
                with path.open("rb") as file:
                    self._add(path.parent.parent.name.replace("_", "-"), gnu.GNUTranslations(file))

    def _add(self, tag: str, catalogue: gnu.NullTranslations) -> None:
        language = self._by_tag.setdefault(tag.lower(), Language(tag, catalogue))
        if language.catalogue is not catalogue:
            language.catalogue.add_fallback(catalogue)

    def preferred(self, accept: str) -> Language:
        """Return the language for an Accept-Language header: the best that is there, else English.

        A range is looked up as RFC 4647 says: de-AT is served by de. Whatever is no range is passed over.
        """
        for tag in _wanted(accept):
            if tag == "*":
                break
            while tag:
                if tag in self._by_tag:
                    return self._by_tag[tag]
                tag = tag.rpartition("-")[0]  # noqa: PLW2901  one subtag less
        return _ENGLISH


def _wanted(accept: str) -> list[str]:
    """Return the ranges of a header, the best first."""
    ranges = []
    for part in accept[:_MOST_CHARACTERS].lower().split(",")[:_MOST_RANGES]:
        tag, _, weight = (text.strip() for text in part.partition(";"))
        name, _, value = (text.strip() for text in weight.partition("="))
        if weight and (name != "q" or not _WEIGHT.fullmatch(value)):
            continue
        quality = float(value) if weight else 1.0
        if quality and _RANGE.fullmatch(tag):
            ranges.append((quality, tag))
    return [tag for _, tag in sorted(ranges, key=lambda pair: -pair[0])]


@contextmanager
def speaking(language: Language) -> Iterator[None]:
    """Let texts be in this language, here and in what is called from here."""
    token = _speaking.set(language)
    try:
        yield
    finally:
        _speaking.reset(token)


def spoken() -> Language:
    """Return the language that texts are in now."""
    return _speaking.get()


def translation(message: str) -> str:
    """Return a text in the language of the request, its placeholders still in it."""
    return _speaking.get().catalogue.gettext(message) if message else ""


def plural_translation(singular: str, plural: str, n: float) -> str:
    """Return the form of a text that a number asks for, its placeholders still in it."""
    return _speaking.get().catalogue.ngettext(singular, plural, int(n))


def gettext(message: str, **values: object) -> str:
    """Return a text in the language of the request, with its placeholders filled."""
    return translation(message) % values


def ngettext(singular: str, plural: str, n: int, **values: object) -> str:
    """Return the form of a text that `n` asks for, with its placeholders filled; `%(num)s` is the number itself."""
    return plural_translation(singular, plural, n) % {"num": n, **values}


def N_(message: str) -> str:  # noqa: N802  the name that tools of gettext know
    """Mark a text that is written at import time. It is translated where it is shown, by `gettext(text)`."""
    return message
