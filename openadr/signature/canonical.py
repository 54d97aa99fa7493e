"""Canonical XML 1.0 of parts of a document: the document is canonicalised once, parts are cut out of the text.

libxml2 canonicalises whole documents only, as far as lxml lets it. In canonical text `<` occurs in tags alone, every
element has an end tag, and a start tag has its namespaces before its attributes, all in double quotes; so a part is
found without doubt. It differs from what stands in the document in its first tag only: there it has to declare every
namespace that is in scope.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Final

from lxml import etree
from lxml.etree import _Element

from openadr.signature.values import Fault, SignatureError

_START: Final = re.compile(rb"<[^/]")
_TAG: Final = re.compile(
    rb"""<(?P<name>[^\s>]+)(?P<namespaces>(?:\ xmlns(?::[^\s=]+)?="[^"]*")*)(?P<attributes>(?:\ [^\s=]+="[^"]*")*)>""",
    re.VERBOSE,
)
_NAMESPACE: Final = re.compile(rb' xmlns(?::([^\s=]+))?="([^"]*)"')


class Canonical:
    """The canonical text, without comments, of a document whose first `tags` start tags are of interest.

    Raises SignatureError if the document has no canonical form.
    """

    def __init__(self, root: _Element, tags: int) -> None:
        try:
            self.text: bytes = etree.tostring(root, method="c14n", with_comments=False)
        except etree.C14NError as error:
            raise SignatureError(Fault.SHAPE, "the message has no canonical form.") from error
        self._scopes: dict[tuple[int, ...], Mapping[bytes, bytes]] = {}
        self._starts = [match.start() for match in islice(_START.finditer(self.text), tags)]

    def start(self, number: int) -> int:
        """Return where the start tag of an element stands; they are counted in document order, the root is 0."""
        return self._starts[number]

    def scope(self, path: tuple[int, ...]) -> Mapping[bytes, bytes]:
        """Return prefix -> namespace, as written, at the end of a path of elements from the root on."""
        scope = self._scopes.get(path)
        if scope is None:
            tag = self._tag(path[-1])
            if b" xml:" in tag["attributes"]:
                raise SignatureError(Fault.SHAPE, "an attribute of XML's own would be inherited.")
            own = {match[1] or b"": match[2] for match in _NAMESPACE.finditer(tag["namespaces"])}
            around = self.scope(path[:-1]) if len(path) > 1 else {}
            scope = self._scopes[path] = {**around, **own} if own else around
        return scope

    def part(self, path: tuple[int, ...]) -> bytes:
        """Return the canonical form of the element at the end of a path, which holds no other of its own name."""
        tag = self._tag(path[-1])
        end = b"</" + tag["name"] + b">"
        rest = self.text[tag.end() : self.text.index(end, tag.end()) + len(end)]
        return b"<" + tag["name"] + declared(self.scope(path)) + tag["attributes"] + b">" + rest

    def _tag(self, number: int) -> re.Match[bytes]:
        tag = _TAG.match(self.text, self._starts[number])
        if tag is None:
            raise SignatureError(Fault.SHAPE, "a tag of the message is not understood.")
        return tag


def declared(scope: Mapping[bytes, bytes]) -> bytes:
    """Return the declarations of namespaces in canonical order, each after a blank; an empty one declares nothing."""
    return b"".join(
        [
            b' xmlns%s="%s"' % (b":" + prefix if prefix else b"", namespace)
            for prefix, namespace in sorted(scope.items())
            if namespace
        ]
    )
