"""The real zigbee2mqtt, with a radio that is none: below its Zigbee stack two devices answer as plugs do.

Without hardware zigbee2mqtt does not start, since each of its adapters speaks to a stick. Here the adapter is ours: it
answers what its stack, zigbee-herdsman, asks of a coordinator and of two plugs, and prints what these were told.
zigbee2mqtt says that it needs Node.js 22; a later 20 does.
"""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from support.broker import Broker
from support.npm import install

PACKAGE: Final = "zigbee2mqtt@2.14.1"
PLUG: Final = "0x00158d0001a2b3c4"
"""Measures; zigbee2mqtt knows its model. Its name has a slash in it."""
DOUBLE: Final = "0x00158d0001a2b3c5"
"""Two relays, of a model that zigbee2mqtt does not know: it makes a definition from the clusters."""
_DEADLINE_S: Final = 60.0
_STOP_S: Final = 20.0
_CLUSTERS: Final = {PLUG: {1: [0, 3, 4, 5, 6, 1794, 2820]}, DOUBLE: {1: [0, 3, 4, 5, 6], 2: [4, 5, 6]}}
_MODELS: Final = {PLUG: ("innr", "SP 240"), DOUBLE: ("nobody", "Double relay")}

_RADIO: Final = """\
const {createRequire} = require("node:module");
const {Zcl, Zdo} = require("zigbee-herdsman");
const {Adapter} = createRequire(require.resolve("zigbee-herdsman"))("./adapter");
const {Controller} = require("zigbee2mqtt/dist/controller.js");

const measured = {
  rmsVoltage: 231, rmsCurrent: 5190, activePower: 1200, acVoltageMultiplier: 1, acVoltageDivisor: 1,
  acCurrentMultiplier: 1, acCurrentDivisor: 1000, acPowerMultiplier: 1, acPowerDivisor: 1,
};
const kept = {
  genBasic: {zclVersion: 8}, haElectricalMeasurement: measured,
  seMetering: {currentSummDelivered: 123456, multiplier: 1, divisor: 1000},
};
const relays = {};
let reports = 0;

class Radio extends Adapter {
  async start() { return "resumed"; }
  async stop() {}
  async reset() {}
  async permitJoin() {}
  async sendZclFrameToGroup() {}
  async sendZclFrameToAll() {}
  async supportsBackup() { return false; }
  async getCoordinatorIEEE() { return "0x00124b0000000001"; }
  async getCoordinatorVersion() { return {type: "none", meta: {}}; }
  async getNetworkParameters() {
    return {panID: 6754, extendedPanID: "0xdddddddddddddddd", channel: 11, nwkUpdateID: 0};
  }
  waitFor() { return {promise: new Promise(() => {}), cancel() {}}; }

  async sendZdo(ieee, nwkAddress, cluster) {
    const one = {
      nwkAddress, length: 8, endpoint: 1, profileId: 260, deviceId: 5, deviceVersion: 0, inClusterList: [],
      outClusterList: [],
    };
    if (cluster === Zdo.ClusterId.ACTIVE_ENDPOINTS_REQUEST) return [0, {nwkAddress, endpointList: [1]}];
    return [0, cluster === Zdo.ClusterId.SIMPLE_DESCRIPTOR_REQUEST ? one : undefined];
  }

  async sendZclFrameToEndpoint(ieee, address, endpoint, frame) {
    const {cluster, command, header} = frame;
    const place = `${ieee}/${endpoint}`;
    const own = cluster.name === "genOnOff" ? (relays[place] ??= {onOff: 1}) : (kept[cluster.name] ?? {});
    const answer = (key, payload) => {
      const answered = heard(cluster, address, endpoint, header.transactionSequenceNumber, key, payload);
      this.emit("zclPayload", answered);
      return new Promise((resolve) => setTimeout(() => resolve(answered), 5));
    };
    if (header.isGlobal && command.name === "read") return answer("readRsp", frame.payload.map(({attrId}) => {
      const attribute = Zcl.Utils.getClusterAttribute(cluster, attrId, undefined);
      const value = attribute && own[attribute.name];
      return value === undefined
        ? {attrId, status: Zcl.Status.UNSUPPORTED_ATTRIBUTE}
        : {attrId, status: 0, dataType: attribute.type, attrData: value};
    }));
    if (header.isGlobal && command.name === "configReport") return answer("configReportRsp", [{status: 0}]);
    if (!header.isGlobal && cluster.name === "genOnOff") {
      console.log(`radio: ${place} ${command.name}`);
      own.onOff = command.name === "on" ? 1 : 0;
      if (ieee === "PLUG") {
        measured.activePower = own.onOff * 1200;
        setTimeout(() => this.report(address, "haElectricalMeasurement", "activePower"), 50);
      }
    }
    return answer("defaultRsp", {cmdId: command.ID, statusCode: 0});
  }

  report(address, name, key) {
    const cluster = Zcl.Utils.getCluster(name, undefined, {});
    const {ID, type} = Zcl.Utils.getClusterAttribute(cluster, key, undefined);
    const items = [{attrId: ID, dataType: type, attrData: kept[name][key]}];
    this.emit("zclPayload", heard(cluster, address, 1, reports++ % 256, "report", items));
  }
}

function heard(cluster, address, endpoint, number, key, payload) {
  const way = Zcl.Direction.SERVER_TO_CLIENT;
  const frame = Zcl.Frame.create(Zcl.FrameType.GLOBAL, way, true, undefined, number, key, cluster, payload, {});
  return {
    clusterID: cluster.ID, header: frame.header, data: frame.toBuffer(), address, endpoint, linkquality: 200,
    groupID: 0, wasBroadcast: false, destinationEndpoint: 1,
  };
}

Adapter.create = async (...options) => new Radio(...options);
const controller = new Controller(async () => {}, async (code) => process.exit(code));
process.on("SIGTERM", () => void controller.stop(false));
void controller.start();
"""


@dataclass(slots=True)
class Zigbee2Mqtt:
    """A zigbee2mqtt in a directory of its own, at a broker."""

    directory: Path
    broker: Broker
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        """What it said, and what its radio was told."""
        return (self.directory / "log").read_text("utf-8", errors="replace")

    def prepare(self) -> None:
        """Install it, with its two devices."""
        install(self.directory, PACKAGE)
        (self.directory / "radio.cjs").write_text(_RADIO.replace("PLUG", PLUG), "utf-8")
        data = self.directory / "data"
        data.mkdir()
        devices = [_device(number, ieee) for number, ieee in enumerate((PLUG, DOUBLE), 2)]
        (data / "database.db").write_text("".join(f"{json.dumps(device)}\n" for device in devices), "utf-8")
        settings = {
            "version": 5,
            "mqtt": {"base_topic": "zigbee2mqtt", "server": f"mqtt://{self.broker.host}:{self.broker.port}"},
            "serial": {"port": "/dev/null", "adapter": "ember"},
            "homeassistant": {"enabled": True},
            "frontend": {"enabled": False},
            "availability": {"enabled": True},
            "advanced": {
                "log_output": ["console"],
                "network_key": list(range(1, 17)),
                "pan_id": 6754,
                "ext_pan_id": [221] * 8,
                "channel": 11,
            },
            "devices": {PLUG: {"friendly_name": "kitchen/dishwasher"}, DOUBLE: {"friendly_name": "cellar"}},
        }
        (data / "configuration.yaml").write_text(json.dumps(settings), "utf-8")  # JSON is YAML

    def start(self, sign: str) -> None:
        """Start it and wait until it says something, anew."""
        before = self.log.count(sign) if (self.directory / "log").exists() else 0
        with (self.directory / "log").open("ab") as sink:
            self.process = subprocess.Popen(
                ("node", "radio.cjs"),
                cwd=self.directory,
                env=os.environ | {"ZIGBEE2MQTT_DATA": str(self.directory / "data")},
                stdout=sink,
                stderr=sink,
            )
        deadline = time.monotonic() + _DEADLINE_S
        while self.log.count(sign) == before:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"zigbee2mqtt did not say {sign!r}:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(_STOP_S)
            self.process = None


def _device(number: int, ieee: str) -> dict[str, object]:
    """Return a device as zigbee-herdsman keeps it once it was interviewed."""
    maker, model = _MODELS[ieee]
    endpoints = {
        str(endpoint): {
            "profId": 260,
            "epId": endpoint,
            "devId": 81,
            "inClusterList": clusters,
            "outClusterList": [],
            "clusters": {},
            "binds": [],
            "configuredReportings": [],
            "meta": {},
        }
        for endpoint, clusters in _CLUSTERS[ieee].items()
    }
    return {
        "id": number,
        "type": "Router",
        "ieeeAddr": ieee,
        "nwkAddr": 4700 + number,
        "manufId": 4454,
        "manufName": maker,
        "powerSource": "Mains (single phase)",
        "modelId": model,
        "epList": list(_CLUSTERS[ieee]),
        "endpoints": endpoints,
        "interviewCompleted": True,
        "interviewState": "SUCCESSFUL",
        "meta": {},
    }
