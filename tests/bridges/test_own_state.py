from datetime import timedelta

import pytest

from bridges.own_state import LEFT_ALONE, REMEMBERED, OwnState

T0 = timedelta(hours=5)
MINUTE = timedelta(minutes=1)


def seen(value: str = "on", at: timedelta = T0) -> OwnState:
    own = OwnState()
    own.began(at - timedelta(days=1))
    assert own.hear(value, at, own=True)
    return own


def test_what_a_device_fell_into_is_not_its_own() -> None:
    own = seen()
    own.began(T0 + 5 * MINUTE)
    assert not own.hear("off", T0 + 5 * MINUTE, own=False)
    assert not own.hear("off", T0 + 6 * MINUTE, own=True)  # it says so every half minute
    assert own.instead_of("off", T0 + 7 * MINUTE) == "on"


def test_a_change_after_it_is_somebodys() -> None:
    own = seen()
    own.began(T0)
    own.hear("off", T0, own=False)
    assert not own.hear("on", T0 + MINUTE, own=True)  # known already, and on disk
    assert own.hear("off", T0 + 2 * MINUTE, own=True)
    assert own.instead_of("off", T0 + 2 * MINUTE) == "off"


def test_what_is_left_alone_becomes_its_own() -> None:
    own = seen()
    own.began(T0)
    own.hear("off", T0, own=False)
    assert own.instead_of("off", T0 + LEFT_ALONE) == "off"
    assert own.hear("off", T0 + LEFT_ALONE, own=True)
    own.began(T0 + 20 * MINUTE)
    own.hear("on", T0 + 20 * MINUTE, own=False)
    assert own.instead_of("on", T0 + 21 * MINUTE) == "off"


@pytest.mark.parametrize(("away", "expected"), [(REMEMBERED - MINUTE, "on"), (REMEMBERED + MINUTE, "off")])
def test_after_a_long_absence_nobody_knows(away: timedelta, expected: str) -> None:
    own = seen()
    own.began(T0 + away)
    own.hear("off", T0 + away, own=False)
    assert own.instead_of("off", T0 + away) == expected


def test_the_first_word_ever_is_its_own() -> None:
    own = OwnState()
    own.began(T0)
    assert own.hear("on", T0, own=False)
    own.began(T0 + 5 * MINUTE)
    own.hear("off", T0 + 5 * MINUTE, own=False)
    assert own.instead_of("off", T0 + 6 * MINUTE) == "on"


def test_a_change_right_after_the_start_is_somebodys_too() -> None:
    own = seen()
    own.began(T0)
    own.hear("on", T0, own=False)
    assert own.hear("off", T0 + MINUTE / 60, own=False)
    assert own.instead_of("off", T0 + MINUTE) == "off"


def test_what_was_left_alone_in_silence_is_its_own_too() -> None:
    own = seen()
    own.began(T0 + MINUTE)
    own.hear("off", T0 + MINUTE, own=False)
    own.began(T0 + 31 * MINUTE)
    own.hear("off", T0 + 31 * MINUTE, own=False)
    assert own.instead_of("off", T0 + 32 * MINUTE) == "off"


def test_a_silent_device_is_what_it_was() -> None:
    own = seen()
    own.began(T0)
    assert own.instead_of(None, T0 + MINUTE) == "on"
    assert OwnState().instead_of(None, T0) is None
    assert OwnState().instead_of("off", T0) == "off"


def test_it_is_put_on_disk_when_it_changes_and_now_and_then() -> None:
    own = seen()
    times = [T0 + n * MINUTE for n in range(60) if own.hear("on", T0 + n * MINUTE, own=True)]
    assert times == [T0 + n * MINUTE for n in (10, 20, 30, 40, 50)]
    assert own.hear("off", T0 + 60 * MINUTE, own=True)


def test_a_flood_of_changes_is_no_flood_of_writes() -> None:
    own = OwnState()
    words = [own.hear("on" if number % 2 else "off", T0 + number * MINUTE / 6000, own=True) for number in range(6001)]
    assert sum(words) == 5
    assert own.chosen == "off"
    assert own.hear("on", T0 + 3 * MINUTE, own=True)


def test_rounded_numbers_are_the_same_state() -> None:
    own = OwnState()
    own.hear(9000.0, T0, own=True)
    own.began(T0)
    own.hear(6000.0, T0, own=False)
    own.hear(6000.01, T0 + MINUTE, own=True)
    assert own.instead_of(6000.0, T0 + MINUTE) == 9000.0


def test_what_it_has_said_since_stands_against_what_was_chosen_before() -> None:
    own = OwnState()
    own.began(T0)
    own.hear("on", T0 + MINUTE, own=True)  # we gave it back; a hand right after that is not told from our own order
    assert own.instead_of("off", T0 + 2 * MINUTE) == "off"
    own.began(T0 + 3 * MINUTE)
    assert own.instead_of("off", T0 + 4 * MINUTE) == "on"  # what a broker has stored is not its word
