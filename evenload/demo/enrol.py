"""Enrols several gateways, one after the other: `python -m evenload.demo.enrol FILE` (what `evenload ven enrol` does).

The file holds {"vtn": URL, "ca": PATH, "gateways": [{"name", "code", "directory"}]}; one process instead of one a
gateway, because starting Python takes longer than enrolling.
"""

import json
import sys
from pathlib import Path

from ven.enrol import enrol


def main() -> None:
    """Enrol them."""
    wanted = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for one in wanted["gateways"]:
        enrol(one["code"], wanted["vtn"], Path(wanted["ca"]), Path(one["directory"]), one["name"], "ec", replace=False)


if __name__ == "__main__":
    main()
