#!/usr/bin/env bash
# ruamel.yaml 0.19.1: a text that begins with a question mark is written without quotes between braces or brackets, and its own
# reader refuses that. In block form the same texts are read well; those with a space behind the mark are put in quotes there.
#
# Configuration that a program writes on lines of its own, `{id: ..., with: {...}}`, with texts from outside (names of devices,
# topics) is a file that nobody can load any more. What helps is to quote such texts oneself (DoubleQuotedScalarString), and to
# read back what is to be written before it replaces anything.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check ruamel.yaml==0.19.1
cat > "$place/try.py" <<'PYTHON'
from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

for name, text in (("mark", "?0"), ("mark and space", "? 0"), ("quoted", DoubleQuotedScalarString("?0"))):
    for flow in (False, True):
        yaml, out = YAML(), StringIO()
        yaml.default_flow_style = flow
        yaml.dump({"a": text}, out)
        written = out.getvalue().strip()
        try:
            read = "read" if YAML(typ="safe").load(written) == {"a": str(text)} else "read as something else"
        except YAMLError as error:
            read = type(error).__name__
        print(f"{name}, {'flow' if flow else 'block'}: {written} -> {read}")
PYTHON
"$place/venv/bin/python" "$place/try.py" | tee "$place/seen"
diff "$place/seen" - <<'EXPECTED'
mark, block: a: ?0 -> read
mark, flow: {a: ?0} -> ParserError
mark and space, block: a: '? 0' -> read
mark and space, flow: {a: ? 0} -> ParserError
quoted, block: a: "?0" -> read
quoted, flow: {a: "?0"} -> read
EXPECTED
