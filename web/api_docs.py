"""The OpenAPI document as one page for people: plain HTML, no script, nothing from elsewhere."""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8885; --soft: #8881; --mark: #0a6; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { border-bottom: 1px solid var(--line); margin-top: 3rem; }
code, pre { font: 14px/1.5 ui-monospace, monospace; } pre { background: var(--soft); padding: .75rem; overflow: auto; }
section.one { border: 1px solid var(--line); border-radius: .5rem; padding: 0 1rem 1rem; margin: 1.5rem 0; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
.method { color: var(--mark); font-weight: 700; } .needs { opacity: .8; } :target { outline: 2px solid var(--mark); }
"""
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_Json = Mapping[str, Any]


def page(document: _Json, address: str) -> tuple[str, str]:
    """Return the page of an OpenAPI document, which lies at `address`, and the page's Content-Security-Policy."""
    style_hash = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{style_hash}'; base-uri 'none'; frame-ancestors 'none'"
    title = escape(document["info"]["title"])
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
    )
    return f"{head}<body><main>{''.join(_body(document, address))}</main></body></html>\n", policy


def _body(document: _Json, address: str) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
    yield from (f"<p>{escape(part)}</p>" for part in info["description"].split("\n\n") if part)
    link, version = escape(address), escape(document["openapi"])
    yield f'<p>For programs: <a href="{link}">{link}</a> (OpenAPI {version}).</p>'
    yield "<h2>Who may call</h2>"
    for name, scheme in document["components"]["securitySchemes"].items():
        yield f"<p><code>{escape(name)}</code>: {escape(scheme.get('description', scheme['type']))}</p>"
        for flow in scheme.get("flows", {}).values():
            yield _table(("Scope", "Allows"), ((_code(one), escape(text)) for one, text in flow["scopes"].items()))
    operations = list(_operations(document))
    for tag in [one["name"] for one in document["tags"]]:
        yield f"<h2>{escape(tag.capitalize())}</h2>"
        for path, method, one in operations:
            if one["tags"][:1] == [tag]:
                yield from _operation(path, method, one)
    if document.get("webhooks"):
        yield "<h2>Webhooks</h2>"
    for name, item in document.get("webhooks", {}).items():
        yield from _operation(name, "post", item["post"])
    yield "<h2>Values</h2>"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _schema(name, schema)


def _operations(document: _Json) -> Iterator[tuple[str, str, _Json]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, {"tags": [], **item[method]}


def _operation(path: str, method: str, operation: _Json) -> Iterator[str]:
    anchor = escape(operation["operationId"])
    yield f'<section class="one" id="op-{anchor}"><h3>{escape(operation.get("summary", anchor))}</h3>'
    yield f'<p><span class="method">{method.upper()}</span> <code>{escape(path)}</code></p>'
    if operation.get("description"):
        yield f"<p>{escape(operation['description'])}</p>"
    if needs := _needs(operation):
        yield f'<p class="needs">Needs {needs}.</p>'
    if operation.get("parameters"):
        rows = (
            (_code(each["name"]), escape(each["in"]), _type(each["schema"]), _about(each))
            for each in operation["parameters"]
        )
        yield _table(("Parameter", "In", "Type", "Meaning"), rows)
    if "requestBody" in operation:
        yield from _content("Body", operation["requestBody"])
    for status, answer in operation["responses"].items():
        if "$ref" not in answer:
            yield from _content(f"Answer {status}", answer)
    refs = [(status, answer["$ref"]) for status, answer in operation["responses"].items() if "$ref" in answer]
    if refs:
        yield f"<p>Errors: {', '.join(escape(status) for status, _ in refs)}.</p>"
    yield "</section>"


def _needs(operation: _Json) -> str:
    scopes = [scope for each in operation.get("security", []) for names in each.values() for scope in names]
    if scopes:
        return "the scope " + ", ".join(map(_code, scopes))
    roles = operation.get("x-roles", [])
    return "the role " + " or ".join(map(_code, roles)) if roles else ""


def _content(title: str, part: _Json) -> Iterator[str]:
    for media_type, content in part.get("content", {}).items():
        schema = _type(content["schema"]) if "schema" in content else ""
        yield f"<p><strong>{escape(title)}</strong> <code>{escape(media_type)}</code> {schema}</p>"
        if "example" in content:
            example = content["example"]
            text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
            yield f'<pre tabindex="0">{escape(text)}</pre>'
    if not part.get("content"):
        yield f"<p><strong>{escape(title)}</strong> {escape(part.get('description', ''))}</p>"


def _schema(name: str, schema: _Json) -> Iterator[str]:
    yield f'<section class="one" id="value-{escape(name)}"><h3>{escape(name)}</h3>'
    if schema.get("description"):
        yield f"<p>{escape(' '.join(schema['description'].split()))}</p>"
    required = set(schema.get("required", ()))
    if fields := schema.get("properties"):
        rows = (
            (_code(field) + ("" if field in required else " (optional)"), _type(each), _about(each))
            for field, each in fields.items()
        )
        yield _table(("Field", "Type", "Meaning"), rows)
    else:
        yield f"<p>{_type(schema)}</p>"
    yield "</section>"


def _type(schema: Any) -> str:  # noqa: PLR0911  one for each form of schema
    """Return a schema in a few words, with links to the values that it names."""
    match schema:
        case {"$ref": ref}:
            name = escape(str(ref).rpartition("/")[2])
            return f'<a href="#value-{name}">{name}</a>'
        case {"anyOf": options} | {"oneOf": options}:
            return " or ".join(_type(one) for one in options)
        case {"const": value}:
            return _code(json.dumps(value))
        case {"enum": values}:
            return " or ".join(_code(json.dumps(value)) for value in values)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object of {_type(values)}"
        case {"type": kind, **more}:
            bounds = [f"{key} {more[key]}" for key in ("minimum", "maximum", "maxLength", "format") if key in more]
            return escape(" ".join([str(kind), *([f"({', '.join(map(str, bounds))})"] if bounds else [])]))
        case _:
            return "any"


def _about(part: _Json) -> str:
    schema = part.get("schema", part)
    text = part.get("description") or schema.get("description") or ""
    default = f" Default: {json.dumps(schema['default'], ensure_ascii=False)}." if "default" in schema else ""
    return escape(" ".join(text.split()) + default)


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; the cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
