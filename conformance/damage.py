"""Ways to spoil a message on purpose, and to change single values of it."""

from collections.abc import Mapping
from dataclasses import replace

from lxml import etree

from conformance.templates import Message
from core.errors import InvalidError


def with_doctype(message: Message, declared: str = '<!ENTITY a "x">') -> Message:
    """Return the message with a document type that declares something."""
    head, _, rest = message.body.partition(b"?>\n")
    return replace(message, body=head + b"?>\n<!DOCTYPE x [" + declared.encode() + b"]>\n" + rest)


def with_text(message: Message, old: str, new: str) -> Message:
    """Return the message with other text in one place. Raises InvalidError unless there is exactly one."""
    if message.body.count(old.encode()) != 1:
        raise InvalidError(f"'{old}' does not occur exactly once in {message.name}.")
    return replace(message, body=message.body.replace(old.encode(), new.encode()))


def doubled(message: Message) -> Message:
    """Return the message with its content twice in the envelope, which the schema does not allow."""
    start = message.body.index(b"<oadr:oadrSignedObject>") + len(b"<oadr:oadrSignedObject>")
    end = message.body.index(b"</oadr:oadrSignedObject>")
    return replace(message, body=message.body[:end] + message.body[start:end] + message.body[end:])


def truncated(message: Message) -> Message:
    """Return the message without its last third."""
    return replace(message, body=message.body[: 2 * len(message.body) // 3])


def with_unknown_element(message: Message) -> Message:
    """Return the message with an element that no schema has."""
    end = f"</oadr:{message.name}>".encode()
    return replace(message, body=message.body.replace(end, b"<oadr:oadrSurprise/>" + end))


def padded(message: Message, size: int) -> Message:
    """Return the message with a comment that makes it so many bytes long."""
    filler = b"<!--" + b"x" * max(0, size - len(message.body) - 7) + b"-->"
    return replace(message, body=message.body + filler)


def overridden(message: Message, values: Mapping[str, str]) -> Message:
    """Return the message with the text of elements replaced, by their local names.

    Raises InvalidError for an element that it does not have.
    """
    root = etree.fromstring(message.body, etree.XMLParser(resolve_entities=False, no_network=True))
    for name, value in values.items():
        elements = [element for element in root.iter("{*}" + name) if not len(element)]
        if not elements:
            raise InvalidError(f"{message.name} has no element {name} with a text.")
        for element in elements:
            element.text = value
    return replace(message, body=etree.tostring(root, xml_declaration=True, encoding="UTF-8"))
