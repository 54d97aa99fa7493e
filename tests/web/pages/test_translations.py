"""Which language is spoken, and what a text is in it."""

import asyncio
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from hypothesis import given
from hypothesis import strategies as st

from web.pages.templating import make_environment
from web.pages.translations import N_, Languages, gettext, ngettext, speaking, spoken, translation


def _written(directory: Path, locale: str, texts: dict) -> Path:
    catalogue = Catalog(locale=locale)
    for message, text in texts.items():
        catalogue.add(message, text)
    path = directory / locale / "LC_MESSAGES" / "messages.mo"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_mo(file, catalogue)
    return directory


DE = {
    "Fleet": "Flotte",
    "%(name)s saved.": "%(name)s gespeichert.",
    ("%(num)s day", "%(num)s days"): ("%(num)s Tag", "%(num)s Tage"),
}
PL = {("%(num)s day", "%(num)s days"): ("%(num)s dzień", "%(num)s dni", "%(num)s dnia")}


@pytest.fixture
def languages(tmp_path):
    _written(tmp_path / "a", "de", DE)
    _written(tmp_path / "a", "pt_BR", {"Fleet": "Frota"})
    _written(tmp_path / "a", "pl", PL)
    _written(tmp_path / "b", "de", {"Fleet": "another word", "Market": "Markt"})
    return Languages([tmp_path / "a", tmp_path / "b", tmp_path / "none"])


@pytest.mark.parametrize(
    ("accept", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at, en", "de"),
        ("de-Latn-AT-1996", "de"),
        ("en, de;q=0.9", "en"),
        ("fr, de;q=0.5, en;q=0.4", "de"),
        ("fr;q=1, pt-br;q=0.2", "pt-BR"),
        ("pt", "en"),
        ("de;q=0", "en"),
        ("de;q=0.3, pl;q=0.30", "de"),
        ("pl;q=0.9, de ; q=1.000", "de"),
        ("*", "en"),
        ("*;q=0.1, de;q=0.05", "en"),
        ("de;q=2", "en"),
        ("de;q=NaN", "en"),
        ("de;level=1", "en"),
        ("de_AT", "en"),
        ("../../de", "en"),
        ("\N{FULLWIDTH LATIN SMALL LETTER D}e", "en"),
        ("x," * 40 + "de", "en"),
        ("fr," * 20 + "de", "de"),
        ("x" * 2000 + ",de", "en"),
    ],
)
def test_the_best_language_that_is_there(languages, accept, tag):
    assert languages.preferred(accept).tag == tag


@given(st.text())
def test_any_header_has_a_language(accept):
    assert Languages().preferred(accept).tag == "en"


def test_texts_in_a_language_and_without_one(languages):
    assert gettext("%(name)s saved.", name="Site") == "Site saved."
    with speaking(languages.preferred("de")):
        assert spoken().tag == "de"
        assert gettext("%(name)s saved.", name="100%") == "100% gespeichert."
        assert gettext("Not translated, 5%%.") == "Not translated, 5%."
        assert [ngettext("%(num)s day", "%(num)s days", n) for n in (1, 2)] == ["1 Tag", "2 Tage"]
    with speaking(languages.preferred("pl")):
        assert [ngettext("%(num)s day", "%(num)s days", n) for n in (1, 3, 5)] == ["1 dzień", "3 dni", "5 dnia"]
    assert spoken().tag == "en"
    assert [ngettext("%(num)s day", "%(num)s days", n) for n in (0, 1)] == ["0 days", "1 day"]


def test_the_first_section_that_has_a_text_wins(languages):
    with speaking(languages.preferred("de")):
        assert (gettext("Fleet"), gettext("Market")) == ("Flotte", "Markt")


def test_a_mark_is_translated_where_it_is_shown(languages):
    title = N_("Fleet")
    assert title == "Fleet"
    with speaking(languages.preferred("pt-BR")):
        assert gettext(title) == "Frota"


def test_nothing_is_no_header_of_a_catalogue(languages):
    with speaking(languages.preferred("de")):
        assert translation("") == ""


def test_what_is_no_catalogue_is_a_fault_at_the_start(tmp_path):
    path = tmp_path / "de" / "LC_MESSAGES" / "messages.mo"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(OSError, match="magic"):
        Languages([tmp_path])


async def test_each_request_speaks_its_own_language(languages):
    async def said(accept: str) -> str:
        with speaking(languages.preferred(accept)):
            await asyncio.sleep(0)
            return gettext("Fleet")

    assert await asyncio.gather(said("de"), said("pt-BR"), said("")) == ["Flotte", "Frota", "Fleet"]


def test_templates_escape_what_is_put_into_a_text(tmp_path, languages):
    (tmp_path / "page.html").write_text(
        '{{ _("%(name)s saved.", name=name) }} {{ ngettext("%(num)s day", "%(num)s days", 2) }} {{ state|word }}'
    )
    env = make_environment([tmp_path], {}, {"fleet": N_("Fleet")})
    with speaking(languages.preferred("de")):
        text = env.get_template("page.html").render(name="<b>", state="fleet")
    assert text == "&lt;b&gt; gespeichert. 2 Tage Flotte"
    assert env.get_template("page.html").render(name="x", state="other") == "x saved. 2 days other"
