#!/usr/bin/env bash
# openapi-python-client 0.29.1: an operation goes missing where two component schemas have the same `title`.
#
# Schemas are named by their key in `components/schemas`, and `title` is a text for people, so two keys may well share one;
# pydantic writes such documents for two models of one name in two modules. The generator names classes by the title. Of two
# enumerations that share it, it keeps the first one, prints a warning among its other output, and leaves out every operation
# with a parameter of the second one, and every model with a member of it. It ends with exit code 0, so a build that generates its
# client does not notice; only the code that calls the missing function does.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check openapi-python-client==0.29.1
cd "$place"
cat > make.py <<'PYTHON'
import json
import sys

second_title = sys.argv[1]


def listing(name, schema):
    parameter = {"name": "state", "in": "query", "schema": {"$ref": f"#/components/schemas/{schema}"}}
    answer = {"204": {"description": "Done."}}
    return {"get": {"operationId": name, "tags": ["states"], "parameters": [parameter], "responses": answer}}


print(json.dumps({
    "openapi": "3.1.0",
    "info": {"title": "Two states", "version": "1"},
    "paths": {"/meters": listing("list_meters", "MeterState"), "/relays": listing("list_relays", "RelayState")},
    "components": {"schemas": {
        "MeterState": {"title": "State", "type": "string", "enum": ["silent", "heard"]},
        "RelayState": {"title": second_title, "type": "string", "enum": ["on", "off"]},
    }},
}))
PYTHON
for title in State Position; do
  "$place/venv/bin/python" make.py "$title" > document.json
  "$place/venv/bin/openapi-python-client" generate --meta none --path document.json --output-path "$title" > "$title.log" 2>&1
  echo "second title $title: exit code $?, operations: $(cd "$title/api/states" && ls | grep list_ | tr '\n' ' ')"
done | tee seen
"$place/venv/bin/openapi-python-client" --version
diff seen - <<'EXPECTED'
second title State: exit code 0, operations: list_meters.py 
second title Position: exit code 0, operations: list_meters.py list_relays.py 
EXPECTED
grep -q "conflicting enums named State" State.log
