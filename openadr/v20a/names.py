"""Names on the wire that 2.0a does not share with 2.0b."""

from typing import Final

from openadr.v20b import names as v20b

NAMESPACES: Final = {prefix: v20b.NAMESPACES[prefix] for prefix in ("ei", "pyld", "emix", "strm", "xcal")} | {
    "oadr": "http://openadr.org/oadr-2.0a/2012/07"
}
"""Prefix to namespace, as `encode` writes them."""
