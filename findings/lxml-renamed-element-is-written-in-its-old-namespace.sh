#!/usr/bin/env bash
# lxml 6.1.3 (libxml2 2.14.6): an element that was given another namespace by its `tag` is written in its old one, once it stands
# below an element that uses the old prefix for the new namespace.
#
# Messages of one version of a protocol are turned into those of another like that: rename the root, put it into the other version's
# envelope. OpenADR 2.0a and 2.0b call both of their namespaces `oadr`, so it happens with ordinary messages. The tree says the
# new name, searches find it, and a schema that judges the tree accepts it; the bytes that go out say the old name. Alone, or
# below an element with other prefixes, the same element is written well. What helps is a new element with the children moved
# into it.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check lxml==6.1.3
cat > "$place/try.py" <<'PYTHON'
from lxml import etree

OLD, NEW = "urn:version-a", "urn:version-b"


def moved(prefix):
    """Rename an element, and put it into an envelope whose prefix for the new namespace is this."""
    message = etree.fromstring(f'<m:event xmlns:m="{OLD}"><m:id xmlns:m="urn:ids">7</m:id></m:event>')
    message.tag = f"{{{NEW}}}event"
    envelope = etree.Element(f"{{{NEW}}}envelope", nsmap={prefix: NEW})
    envelope.append(message)
    return message, etree.fromstring(etree.tostring(envelope))[0]


def rebuilt(prefix):
    """Make a new element in the envelope, and move the children."""
    message = etree.fromstring(f'<m:event xmlns:m="{OLD}"><m:id xmlns:m="urn:ids">7</m:id></m:event>')
    envelope = etree.Element(f"{{{NEW}}}envelope", nsmap={prefix: NEW})
    new = etree.SubElement(envelope, f"{{{NEW}}}event")
    new.extend(message)
    return new, etree.fromstring(etree.tostring(envelope))[0]


for name, way, prefix in (("same prefix", moved, "m"), ("other prefix", moved, "e"), ("rebuilt", rebuilt, "m")):
    in_tree, in_text = way(prefix)
    print(f"{name}: tree {in_tree.tag}, text {in_text.tag}")
PYTHON
"$place/venv/bin/python" "$place/try.py" | tee "$place/seen"
"$place/venv/bin/python" -c 'from lxml import etree; print("lxml", etree.LXML_VERSION, "libxml2", etree.LIBXML_VERSION)'
diff "$place/seen" - <<'EXPECTED'
same prefix: tree {urn:version-b}event, text {urn:version-a}event
other prefix: tree {urn:version-b}event, text {urn:version-b}event
rebuilt: tree {urn:version-b}event, text {urn:version-b}event
EXPECTED
