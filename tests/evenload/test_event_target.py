"""`--target KIND=VALUE`: what is typed becomes fields of the API, and mistakes are named."""

import pytest

from core.errors import InvalidError
from evenload.event_target import KINDS, target_fields, target_words
from vtn.api.targets import EventTarget

_AREAS = ("service-area", "service-location")
_VALUES = {"transport": "A>B", "device-class": "x-own"} | dict.fromkeys(_AREAS, "1,2 3,4 5,-6.5")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_one_of_the_api_s_and_is_shown_again(kind):
    fields = target_fields([f"{kind}={_VALUES.get(kind, 'a=b c')}"])
    target = EventTarget.model_validate(fields["target"])
    assert target.value(fields["resource_ids"])
    shown = {"resource_ids": fields["resource_ids"], "target": target.model_dump(mode="json")}
    assert target_words(shown) == (f"{kind} of 3 corners" if kind in _AREAS else f"{kind}={_VALUES.get(kind, 'a=b c')}")


def test_nothing_is_for_nobody_in_particular():
    fields = target_fields([])
    assert fields == {"resource_ids": [], "target": {}}
    assert target_words({"resource_ids": [], "target": EventTarget().model_dump(mode="json")}) == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("north", "KIND=VALUE"),
        ("group=", "KIND=VALUE"),
        ("ven=ven_1", "no kind of target"),
        ("service-area=1,2 3", "LAT,LON"),
        ("service-area=here,there", "LAT,LON"),
        ("service-area=nan,1 2,3 4,5", "no place on the map"),
        ("service-area=91,1 2,3 4,5", "no place on the map"),
        ("service-location=1,inf 2,3 4,5", "no place on the map"),
        ("transport=A", "RECEIPT>DELIVERY"),
        ("transport=A>", "RECEIPT>DELIVERY"),
    ],
)
def test_mistakes_are_named(text, words):
    with pytest.raises(InvalidError, match=words):
        target_fields([text])
