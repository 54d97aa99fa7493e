"""What a gateway makes of the price events of our VTN: it takes them, and acts only where its file says so."""

from datetime import timedelta

import pytest

from aggregator.tariff import tariffs
from aggregator.tariff.price_series import Price
from aggregator.tariff.prices import PriceSignals
from aggregator.tariff.tariffs import Kind, NewTariff, Source
from openadr.model.opt import OptType
from support.vtn_world import NOON
from ven.explain import explain
from ven.household import Household

HOUR = timedelta(hours=1)
HEATER = {
    "id": "heater",
    "driver": "iflex",
    "with": {"hems_id": "H1", "device_id": "2", "actuator_id": "284"},
    "role": "water_heater",
    "nominal_w": 2000,
}
RULE = {"match": {"signal": "ELECTRICITY_PRICE"}, "prices": [{"above": 0.3, "do": {"heater": {"switch": "off"}}}]}


@pytest.fixture
async def message(world):
    """The bytes of a delivery with the prices of today."""
    ven = await world.ven()
    await world.programme(ven)
    given = [Price(NOON + n * HOUR, NOON + (n + 1) * HOUR, amount) for n, amount in enumerate(("0.1", "0.35", "-0.2"))]
    async with world.tx() as tx:
        new = NewTariff(Kind.ELECTRICITY, "T", "EUR", True)
        made = await tariffs.create(tx, new, world.now, who="test")
        await tariffs.put_prices(tx, made.id, given, world.now, who="test", source=Source.REST)
    await PriceSignals(world.db, world.clock).turn()
    await ven.events()
    return ven.raw


def home(*programmes):
    return Household.model_validate(
        {
            "version": 1,
            "name": "home",
            "identity": "identity",
            "state": "state",
            "mqtt": {"host": "localhost"},
            "devices": [HEATER],
            "programmes": programmes,
        }
    )


async def test_a_gateway_takes_prices_and_does_nothing_by_itself(message):
    (told,) = explain(home(), message, NOON)
    assert told.opt is OptType.IN
    assert (told.code, told.start, told.end) == (200, NOON, NOON + 3 * HOUR)
    assert told.orders == ()
    assert "no programme of this household uses it" in told.notes[0]


async def test_a_gateway_with_a_rule_acts_while_the_price_is_high(message):
    (told,) = explain(home(RULE), message, NOON)
    assert told.opt is OptType.IN
    assert [(one.device, one.value, one.at, one.until) for one in told.orders] == [
        ("heater", "off", NOON + HOUR, NOON + 2 * HOUR)
    ]
