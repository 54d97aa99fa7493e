"""What the devices of the real converter list expose, as zigbee2mqtt publishes it; Node.js works it out."""

import json
import subprocess
from pathlib import Path
from typing import Any

from support.npm import install

PACKAGE = "zigbee-herdsman-converters@26.112.0"
_SCRIPT = """\
import {readdirSync} from "node:fs";
import {createRequire} from "node:module";
const main = createRequire(import.meta.url).resolve("zigbee-herdsman-converters");
const converters = await import(main);
const folder = main.replace(/index\\.js$/, "devices/");
const list = [];
for (const file of readdirSync(folder).filter((name) => name.endsWith(".js") && name !== "index.js")) {
  const module = await import(folder + file);
  for (const each of module.definitions ?? module.default.definitions ?? module.default) {
    const {vendor, model, description, exposes} = converters.prepareDefinition({...each});
    const shown = typeof exposes === "function" ? exposes({isDummyDevice: true}, {}) : exposes;
    list.push({vendor, model, description, exposes: shown});
  }
}
console.log(JSON.stringify(list));
"""


def definitions(directory: Path) -> list[dict[str, Any]]:
    """Return vendor, model, description and exposes of every device; skips, or on a build server fails, without npm."""
    install(directory, PACKAGE)
    (directory / "dump.mjs").write_text(_SCRIPT)
    done = subprocess.run(("node", "dump.mjs"), cwd=directory, check=True, timeout=300, stdout=subprocess.PIPE)
    listed: list[dict[str, Any]] = json.loads(done.stdout)
    return listed
