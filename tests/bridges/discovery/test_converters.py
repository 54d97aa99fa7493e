"""Every device of the real converter list maps, or is refused by a named reason; the docs have the counts."""

import json
import re
from collections import Counter
from pathlib import Path

from bridges.discovery.search import template_text
from bridges.discovery.zigbee2mqtt import found_devices
from bridges.template import DeviceBody, Template
from core.errors import InvalidError
from support.zigbee_definitions import PACKAGE, definitions

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "devices.md"


def test_the_whole_list(tmp_path):
    listed = definitions(tmp_path)
    counts, reasons = Counter(), Counter()
    for number, definition in enumerate(listed, 1):
        entry = {"ieee_address": f"0x{number:016x}", "friendly_name": f"device {number}", "definition": definition}
        try:
            devices = list(found_devices(entry, "zigbee2mqtt"))
        except InvalidError as error:
            reasons[str(error)] += 1
            continue
        counts["usable"] += 1
        counts["with a switch"] += any("capabilities" in device.template for device in devices)
        counts["with values"] += "points" in devices[0].template
        for device in devices:
            body = {name: value for name, value in device.template.items() if name not in ("title", "description")}
            DeviceBody.model_validate_json(json.dumps(body))
        if number % 25 == 0:  # reading YAML takes its time
            for device in devices:
                path = tmp_path / "drawn.yaml"
                path.write_text(template_text(device.template), encoding="utf-8")
                Template(path)
    assert set(reasons) == {"A Zigbee device exposes nothing that is of use here."}
    assert sum(reasons.values()) + counts["usable"] == len(listed)
    name, _, version = PACKAGE.rpartition("@")
    table = re.search(rf"\| {name} {version} \| ([\d,]+) \|\n((?:\|.*\n)+)", PAGE.read_text("utf-8"))
    assert table is not None, f"docs/reference/devices.md speaks of another version than {PACKAGE}"
    shown = [int(count.replace(",", "")) for count in (table[1], *re.findall(r"\| ([\d,]+) \|", table[2]))]
    assert shown == [
        len(listed),
        counts["usable"],
        counts["with a switch"],
        counts["with values"],
        sum(reasons.values()),
    ]
