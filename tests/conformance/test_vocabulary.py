"""The kit's tables and the product's, each written down by itself, say the same."""

from conformance.vocabulary import CODES, DEVICE_CLASSES, SIGNALS
from openadr.model.signal import SIGNAL_TABLE
from openadr.model.target import DEVICE_CLASSES as OURS
from openadr.v20b.codes import Code


def test_signals() -> None:
    rows = {
        (signal.name, kind): (frozenset(signal.units), signal.values) for signal in SIGNALS for kind in signal.types
    }
    assert rows == {pair: (units, words) for pair, (units, _, words) in SIGNAL_TABLE.items()}
    assert len(rows) == sum(len(signal.types) for signal in SIGNALS)


def test_codes() -> None:
    assert [code.number for code in CODES] == sorted(Code)


def test_device_classes() -> None:
    assert set(DEVICE_CLASSES) == OURS
    assert len(DEVICE_CLASSES) == len(OURS)
