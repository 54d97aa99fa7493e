#!/usr/bin/env bash
# ruamel.yaml 0.19.1: a text in double quotes that is broken over two lines right behind an escape (a tab, a backslash) has one blank
# more when it is read back. The line ends without the backslash that a break within a text needs, and a bare break is read as a blank.
#
# Whether it happens depends on where the text stands: a name, a topic or a path that was written well for years changes once the
# line before it gets longer. What helps is a width that no line reaches.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check ruamel.yaml==0.19.1
cat > "$place/try.py" <<'PYTHON'
from io import StringIO

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

for text in ("kitchen\tplug one", "C:\\meters and more", "no escape in here"):
    for width in (40, 10**9):
        changed = 0
        for before in range(1, 60):
            yaml, out = YAML(), StringIO()
            yaml.default_flow_style, yaml.width = True, width
            yaml.dump({"k" * before: DoubleQuotedScalarString(text)}, out)
            changed += YAML(typ="safe").load(out.getvalue()) != {"k" * before: text}
        print(f"{text!r}, lines of {width}: {'some are' if changed else 'none is'} changed")
PYTHON
"$place/venv/bin/python" "$place/try.py" | tee "$place/seen"
diff "$place/seen" - <<'EXPECTED'
'kitchen\tplug one', lines of 40: some are changed
'kitchen\tplug one', lines of 1000000000: none is changed
'C:\\meters and more', lines of 40: some are changed
'C:\\meters and more', lines of 1000000000: none is changed
'no escape in here', lines of 40: none is changed
'no escape in here', lines of 1000000000: none is changed
EXPECTED
