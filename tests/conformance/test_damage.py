"""Templates fit the schema as they stand; what is spoiled on purpose does not."""

from datetime import UTC, datetime

import pytest

from conformance import damage, judge
from conformance import templates as t
from conformance.verdict import Failed
from core.errors import InvalidError

MESSAGES = {
    message.name: message
    for message in (
        t.query("a & <b>"),
        t.register(ven_id="v", registration_id="r", address="http://a", pull=False),
        t.canceled_registration("v", "r", "q"),
        t.response("v"),
        t.registered_report("v", "q"),
        t.created_report("v", "q", ["a", "b"]),
        t.canceled_report("v", "q"),
        t.distribute_event(),
        t.request_reregistration("v"),
        *t.of_every_kind("v", "r"),
    )
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_template_fits_the_schema(name):
    document = judge.parse(MESSAGES[name].body)
    assert document.name == name
    assert judge.schema_fault(document.root) == ""


@pytest.mark.parametrize("spoil", [damage.doubled, damage.with_unknown_element])
def test_what_is_spoiled_does_not_fit(spoil):
    assert judge.schema_fault(judge.parse(spoil(MESSAGES["oadrPoll"]).body).root)


@pytest.mark.parametrize("spoil", [damage.truncated, damage.with_doctype])
def test_what_cannot_be_read_says_why(spoil):
    with pytest.raises(ValueError, match="it"):
        judge.parse(spoil(MESSAGES["oadrPoll"]).body)


def test_a_padded_message_is_as_long_as_asked_for_and_still_good():
    padded = damage.padded(MESSAGES["oadrPoll"], 10_000)
    assert len(padded.body) == 10_000
    assert judge.schema_fault(judge.parse(padded.body).root) == ""


def test_a_text_can_be_overridden():
    other = damage.overridden(MESSAGES["oadrPoll"], {"venID": "a < b"})
    assert judge.parse(other.body).text("ei:venID") == "a < b"
    with pytest.raises(InvalidError, match="no element optID"):
        damage.overridden(MESSAGES["oadrPoll"], {"optID": "x"})


def test_a_text_is_replaced_in_one_place_or_not_at_all():
    with pytest.raises(InvalidError, match="exactly once"):
        damage.with_text(MESSAGES["oadrPoll"], "oadrPoll", "x")


@pytest.mark.parametrize(("text", "good"), [("2026-01-12T12:00:00Z", True), ("2026-01-12T12:00:00.5Z", True)])
def test_times_that_are_utc(text, good):
    assert judge.is_date_time(text) is good


@pytest.mark.parametrize("text", ["2026-01-12T12:00:00", "2026-01-12T12:00:00+00:00", "2026-01-12", "", "x"])
def test_times_that_are_not(text):
    assert not judge.is_date_time(text)


@pytest.mark.parametrize(
    ("text", "length"), [("PT0S", 0), ("P1D", 86400), ("-PT5M", -300), ("P1M", 2_592_000), ("P1DT1H", 90_000)]
)
def test_durations(text, length):
    assert judge.is_duration(text)
    assert judge.seconds(text) == length


@pytest.mark.parametrize("text", ["P", "PT", "P1W", "PT1.5S", "1W", "", "x", f"PT{'9' * 5000}S"])
def test_what_is_no_duration(text):
    assert not judge.is_duration(text)


def test_what_ends_beyond_the_calendar_is_a_fault_and_no_crash():
    assert judge.after(datetime(2026, 1, 1, tzinfo=UTC), 60) == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    with pytest.raises(Failed, match="no end in the calendar"):
        judge.after(datetime(9999, 12, 31, tzinfo=UTC), judge.seconds("P1D"))
    with pytest.raises(Failed, match="no end in the calendar"):
        judge.after(datetime(2026, 1, 1, tzinfo=UTC), judge.seconds("P999999999Y"))


def test_a_message_of_entities_is_not_read():
    with pytest.raises(ValueError, match="DOCTYPE"):
        judge.parse(b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>')
