#!/usr/bin/env bash
# HATasmota 0.9.2: half a shutter raises IndexError in the last place, and is a logged error in any other.
#
# In Tasmota's announcement `rl` says of each relay what it is, and 3 is half a shutter. Two of them in a row make one. Where the other
# half is missing, `get_cover_entities` logs that and returns no shutters; but it looks at the next entry of the list also behind its
# last one, so that the same mistake in the last place raises. Whoever catches nothing loses the device, and what stood behind it in
# the same loop. The message comes from any device that may publish below `tasmota/discovery`.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check HATasmota==0.9.2 voluptuous==0.16.0
cat > "$place/try.py" <<'PYTHON'
import logging

from hatasmota.discovery import get_cover_entities

logging.disable(logging.CRITICAL)
CONFIG = {
    "mac": "AABBCC001122", "t": "blind", "hn": "blind", "dn": "Blind", "fn": [], "ft": "%prefix%/%topic%/",
    "tp": ["cmnd", "stat", "tele"], "ofln": "Offline", "onln": "Online", "dslp": 0, "sho": [], "sht": [], "so": {"80": 1},
}
for relays in ([3, 3, 0, 1], [3, 0, 0, 1], [1, 0, 0, 3]):
    try:
        entities = get_cover_entities(CONFIG | {"rl": relays})
        print(relays, sum(entity is not None for entity, _ in entities), "shutters")
    except IndexError as error:
        print(relays, "IndexError:", error)
PYTHON
"$place/venv/bin/python" "$place/try.py" | tee "$place/seen"
diff "$place/seen" - <<'EXPECTED'
[3, 3, 0, 1] 1 shutters
[3, 0, 0, 1] 0 shutters
[1, 0, 0, 3] IndexError: list index out of range
EXPECTED
