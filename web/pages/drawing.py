"""The child process that knows the chart library: `python -P drawing.py bundle|svg|png`.

`bundle` writes the JavaScript to standard output; the others read a Vega-Lite specification from standard input.
"""

import json
import sys
from typing import Any, Final

_SNIPPET: Final = "window.vegaEmbed = vegaEmbed;"


def _draw(task: str, specification: dict[str, Any]) -> bytes:
    import vl_convert  # noqa: PLC0415  130 MB: only this process pays for it

    if task == "bundle":
        return str(vl_convert.javascript_bundle(_SNIPPET)).encode()
    if task == "svg":
        return str(vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])).encode()
    if task == "png":
        return bytes(vl_convert.vegalite_to_png(specification, scale=2, allowed_base_urls=[]))
    raise SystemExit(f"unknown task {task[:20]!r}")


def main() -> None:
    """Do what the first argument says."""
    task = sys.argv[1]
    specification = {} if task == "bundle" else json.load(sys.stdin.buffer)
    sys.stdout.buffer.write(_draw(task, specification))


if __name__ == "__main__":
    main()
