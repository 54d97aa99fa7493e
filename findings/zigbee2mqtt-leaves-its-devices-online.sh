#!/usr/bin/env bash
# zigbee2mqtt 2.14.1: when it ends, it says so of itself, and leaves its devices online.
#
# `<base>/<device>/availability` is retained, like `<base>/bridge/state`. On its end (SIGTERM, or its last will when it is killed)
# zigbee2mqtt sets the second one to offline and does not touch the first. Whoever goes by a device's availability alone, as its name
# suggests, takes plugs for reachable that nobody can reach, for as long as zigbee2mqtt is away. Both topics have to be online; its
# announcements for Home Assistant list both, with `availability_mode: all`.
#
# It does not start without a radio, so a small one of our own answers below its Zigbee stack. Needs Node.js (22, a later 20 does),
# npm and Mosquitto.
set -euo pipefail

place=$(mktemp -d)
mosquitto=$(command -v mosquitto || echo /usr/sbin/mosquitto)
port=${PORT:-18835}
cleanup() { [ -z "${zigbee:-}" ] || kill "$zigbee" 2>/dev/null || true; [ -z "${broker:-}" ] || kill "$broker" 2>/dev/null || true; rm -rf "$place"; }
trap cleanup EXIT
cd "$place"
npm install --silent --no-fund --no-audit --ignore-scripts zigbee2mqtt@2.14.1
printf 'listener %s 127.0.0.1\nallow_anonymous true\n' "$port" > broker.conf
"$mosquitto" -c broker.conf > broker.log 2>&1 & broker=$!

cat > radio.cjs <<'JS'
const {createRequire} = require("node:module");
const {Zcl} = require("zigbee-herdsman");
const {Adapter} = createRequire(require.resolve("zigbee-herdsman"))("./adapter");
const {Controller} = require("zigbee2mqtt/dist/controller.js");
class Radio extends Adapter {
  async start() { return "resumed"; }
  async stop() {}
  async supportsBackup() { return false; }
  async getCoordinatorIEEE() { return "0x00124b0000000001"; }
  async getCoordinatorVersion() { return {type: "none", meta: {}}; }
  async getNetworkParameters() { return {panID: 6754, extendedPanID: "0xdddddddddddddddd", channel: 11, nwkUpdateID: 0}; }
  async sendZdo(ieee, nwkAddress, cluster) {
    return [0, cluster === 5 ? {nwkAddress, endpointList: [1]} : {endpoint: 1, profileId: 260, deviceId: 5, inClusterList: [], outClusterList: []}];
  }
  async sendZclFrameToEndpoint(ieee, address, endpoint, {cluster, header, payload}) {
    const values = payload.map(({attrId}) => ({attrId, status: 0, dataType: Zcl.Utils.getClusterAttribute(cluster, attrId).type, attrData: 1}));
    const frame = Zcl.Frame.create(0, 1, true, undefined, header.transactionSequenceNumber, "readRsp", cluster, values, {});
    const answer = {clusterID: cluster.ID, header: frame.header, data: frame.toBuffer(), address, endpoint, linkquality: 200, groupID: 0};
    this.emit("zclPayload", answer);
    return answer;
  }
}
Adapter.create = async (...options) => new Radio(...options);
const controller = new Controller(async () => {}, async (code) => process.exit(code));
process.on("SIGTERM", () => void controller.stop(false));
void controller.start();
JS
cat > watch.cjs <<'JS'
const client = require("mqtt").connect(`mqtt://127.0.0.1:${process.argv[2]}`);
client.subscribe(["zigbee2mqtt/plug/availability", "zigbee2mqtt/bridge/state"]);
const kept = [];
client.on("message", (topic, payload, {retain}) => kept.push(`${topic} ${payload} ${retain ? "retained" : ""}`));
setTimeout(() => { console.log(kept.sort().reverse().join("\n")); client.end(); }, 1000);
JS
mkdir data
cat > data/database.db <<'JSON'
{"id":2,"type":"Router","ieeeAddr":"0x00158d0001a2b3c4","nwkAddr":4711,"manufName":"nobody","modelId":"plug","epList":[1],"endpoints":{"1":{"profId":260,"epId":1,"devId":81,"inClusterList":[0,6],"outClusterList":[],"clusters":{},"binds":[],"configuredReportings":[],"meta":{}}},"interviewCompleted":true,"interviewState":"SUCCESSFUL","meta":{}}
JSON
cat > data/configuration.yaml <<YAML
version: 5
mqtt: {base_topic: zigbee2mqtt, server: "mqtt://127.0.0.1:$port"}
serial: {port: /dev/null, adapter: ember}
frontend: {enabled: false}
availability: {enabled: true}
advanced: {log_output: [console], network_key: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], pan_id: 6754, ext_pan_id: [221, 221, 221, 221, 221, 221, 221, 221], channel: 11}
devices: {"0x00158d0001a2b3c4": {friendly_name: plug}}
YAML
ZIGBEE2MQTT_DATA=$place/data node radio.cjs > log 2>&1 & zigbee=$!
for _ in $(seq 300); do grep -q "plug/availability', payload '{\"state\":\"online\"}'" log && break; sleep 0.1; done
sleep 1
echo "while it runs:" | tee seen
node watch.cjs "$port" | tee -a seen
kill -TERM "$zigbee"
wait "$zigbee" || true
zigbee=
echo "once it has ended:" | tee -a seen
node watch.cjs "$port" | tee -a seen
diff seen - <<'EXPECTED'
while it runs:
zigbee2mqtt/plug/availability {"state":"online"} retained
zigbee2mqtt/bridge/state {"state":"online"} retained
once it has ended:
zigbee2mqtt/plug/availability {"state":"online"} retained
zigbee2mqtt/bridge/state {"state":"offline"} retained
EXPECTED
