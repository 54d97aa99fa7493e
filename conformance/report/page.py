"""The run as one self-contained page, with the messages of each failure."""

from html import escape
from typing import Final

from lxml import etree

from conformance.exchange import Exchange, Headers
from conformance.report.summary import Row, Summary
from conformance.verdict import Verdict, printable

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0}th,td{border:1px solid #ccc;padding:.3rem .6rem;text-align:left;
vertical-align:top}pre{background:#f4f4f4;padding:.6rem;overflow:auto;max-height:30rem}.fail{color:#b00020;
font-weight:bold}.pass{color:#0a6b2d}.quiet{color:#666}@media(prefers-color-scheme:dark){body{color:#eee;
background:#161616}pre{background:#252525}th,td{border-color:#444}.fail{color:#ff8a8a}.pass{color:#7ad99a}
.quiet{color:#aaa}}
"""
_CLASSES: Final = {Verdict.PASS: "pass", Verdict.FAIL: "fail"}
_LONGEST: Final = 100_000


def as_html(summary: Summary) -> str:
    """Return the page. It loads nothing, and nothing that a VTN sent is markup in it."""
    title = escape(f"OpenADR 2.0b conformance of {summary.subject}")
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>",
        _chapters(summary),
        *(_failure(row) for row in summary.rows if row.result.verdict is Verdict.FAIL),
        _rules(summary),
        _unrun(summary),
        "</body></html>\n",
    ]
    return "".join(parts)


def _chapters(summary: Summary) -> str:
    heads = "".join(f'<th scope="col">{verdict.value}</th>' for verdict in Verdict)
    rows = []
    for chapter in (*summary.chapters, None):
        counts = summary.counts(chapter)
        cells = "".join(f"<td>{counts[verdict]}</td>" for verdict in Verdict)
        rows.append(f'<tr><th scope="row">{chapter or "all"}</th>{cells}</tr>')
    return f'<table><thead><tr><th scope="col">Chapter</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _rules(summary: Summary) -> str:
    rows = []
    for row in summary.rows:
        kind = _CLASSES.get(row.result.verdict, "quiet")
        rule = escape(row.result.rule)
        link = f'<a href="#{rule}">{rule}</a>' if row.result.verdict is Verdict.FAIL else rule
        reason = f'<br><span class="{kind}">{escape(row.result.reason)}</span>' if row.result.reason else ""
        rows.append(
            f'<tr><th scope="row">{link}</th><td>{row.level.value}</td>'
            f'<td class="{kind}">{row.result.verdict.value}</td>'
            f"<td>{escape(row.text)}{reason}</td></tr>"
        )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Rule", "Level", "Verdict", "What it asks"))
    return f"<h2>All rules</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _failure(row: Row) -> str:
    exchanges = "".join(_exchange(exchange) for exchange in row.result.exchanges)
    rule = escape(row.result.rule)
    return (
        f'<section id="{rule}"><h2><span class="fail">Failed:</span> {rule} {escape(row.text)}</h2>'
        f"<p>{escape(row.rule_text)}</p><p class='fail'>{escape(row.result.reason)}</p>{exchanges}</section>"
    )


def _exchange(exchange: Exchange) -> str:
    request, answer = exchange.request, exchange.answer
    sent = f"{request.method} {request.target}\n{_headers(request.headers)}\n{readable(request.body)}"
    if answer is None:
        got = exchange.trouble
    else:
        try:
            content = answer.content
        except ValueError:
            content = answer.body
        got = f"HTTP {answer.status}\n{_headers(answer.headers)}\n{readable(content)}"
    who = "the VTN" if exchange.is_push else exchange.ven
    label = f"{exchange.step}, by {who} at {exchange.at.isoformat(timespec='milliseconds')}"
    return (
        f"<h3>{escape(label)}</h3><p>Sent:</p><pre>{escape(sent[:_LONGEST])}</pre>"
        f"<p>Got:</p><pre>{escape(got[:_LONGEST])}</pre>"
    )


def _headers(headers: Headers) -> str:
    return "".join(f"{printable(name)}: {printable(value)}\n" for name, value in headers)


def readable(body: bytes) -> str:
    """Return a body for people: XML with line breaks, if it is any."""
    try:
        root = etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True))
        return etree.tostring(root, pretty_print=True, encoding="unicode")
    except (etree.XMLSyntaxError, ValueError):
        return printable(body.decode("utf-8", "replace"))


def _unrun(summary: Summary) -> str:
    if not summary.unrun:
        return ""
    items = "".join(f"<li>{escape(rule)}: {escape(reason)}</li>" for rule, reason in summary.unrun.items())
    return f"<h2>{len(summary.unrun)} rules without a check</h2><ul>{items}</ul>"
