"""Where an entity speaks and listens, as a device template says it; what cannot be used is refused by a sentence."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bridges.discovery.homeassistant_messages import Entity
from bridges.value_template import MOST_TEMPLATE, ValueTemplate, read
from core.errors import InvalidError

_PLACEHOLDER: Final = re.compile(r"\{[a-z][a-z0-9_]*\}")
"""What a device template takes for one of its parameters."""
_TIGHT: Final = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
_MOST_TOPIC: Final = 512
_MOST_PATH: Final = 200
_MOST_WORD: Final = 64
_MOST_PAYLOAD: Final = 2000
_MOST_KEPT: Final = 2000
"""Templates that are kept once they were read: a device's are much alike."""


class Sources:
    """Reads topics and templates of entities. `prefix` is discovery's, `own` are prefixes of topics that are ours."""

    def __init__(self, prefix: str, own: Iterable[str]) -> None:
        self._discovery = f"{prefix}/"
        self._own = tuple(own)
        self._templates: dict[str, ValueTemplate | InvalidError] = {}

    def topic(self, value: object, what: str) -> str:
        """Return a topic that can be used. Raises InvalidError, with `what` it is for."""
        if not isinstance(value, str) or not value:
            raise InvalidError(f"It has no {what}.")
        if len(value) > _MOST_TOPIC or not value.isprintable() or _PLACEHOLDER.search(value):
            raise InvalidError(f"Its {what} is too long, or has signs in it that topics here do not have.")
        if "+" in value or "#" in value:
            raise InvalidError(f"Its {what} has wildcards: it does not say which device speaks.")
        if value.startswith("$") or (value.startswith(self._discovery) and value.endswith("/config")):
            raise InvalidError(f"Its {what} is none of a device.")
        if value.startswith(self._own):
            raise InvalidError(f"Its {what} is one of ours.")
        return value

    @staticmethod
    def word(value: object) -> str:
        """Return a word that is sent or heard. Raises InvalidError for what is none."""
        word = spelled(value)
        if not 0 < len(word) <= _MOST_WORD or not word.isprintable() or _PLACEHOLDER.search(word):
            raise InvalidError("One of its words is too long, or has signs in it that words here do not have.")
        return word

    def template(self, text: object) -> ValueTemplate:
        """Return a template, read. Raises InvalidError."""
        if not isinstance(text, str):
            raise InvalidError("Its template is no text.")
        if not all(char.isprintable() or char in "\r\n\t" for char in text[: MOST_TEMPLATE + 1]):
            raise InvalidError("Its template has control characters in it.")
        if text not in self._templates:
            if len(self._templates) >= _MOST_KEPT:
                self._templates.clear()
            try:
                self._templates[text] = read(text)
            except InvalidError as error:
                self._templates[text] = error
        template = self._templates[text]
        if isinstance(template, InvalidError):
            raise InvalidError(str(template))
        return template

    def heard(self, topic: object, text: object, what: str = "state topic") -> dict[str, Any]:
        """Return where something is heard: `topic`, and `path` or `template` where there is more to it."""
        source = {"topic": self.topic(topic, what)}
        if text is None or text == "":
            return source
        template = self.template(text)
        path = template.path
        if path == "":
            return source
        if path is not None and len(path) <= _MOST_PATH and not _PLACEHOLDER.search(path):
            return source | {"path": path}
        # Without spaces a name in braces would be taken for a parameter of the device template.
        spaced = _TIGHT.sub(r"{{ \1 }}", template.text)
        if _PLACEHOLDER.search(spaced):
            raise InvalidError("Its template has names in braces, which are taken for parameters here.")
        return source | {"template": spaced}

    def state(self, entity: Entity, topic: str = "state_topic", text: str = "value_template") -> dict[str, Any]:
        """Return where an entity's state is heard. Raises InvalidError where that is nowhere."""
        if entity.options.get(topic) in (None, ""):
            raise InvalidError("It does not tell its state, so no order to it could be confirmed.")
        return self.heard(entity.options[topic], entity.options.get(text))

    def order(self, entity: Entity, topic: str = "command_topic", text: str = "command_template") -> dict[str, Any]:
        """Return where and how an entity takes a number."""
        order: dict[str, Any] = {"topic": self.topic(entity.options.get(topic), "command topic")}
        if entity.options.get(text) not in (None, ""):
            payload = self.template(entity.options[text]).payload
            if payload is None:
                raise InvalidError("Its command template does more than put text around the value.")
            order["payload"] = _payload(payload)
        return order | _retain(entity.options)

    def order_of_words(
        self,
        entity: Entity,
        payloads: Mapping[str, object],
        topic: str = "command_topic",
        text: str = "command_template",
    ) -> dict[str, Any]:
        """Return where and how an entity takes words: `payloads` has what is sent for each of ours."""
        order: dict[str, Any] = {"topic": self.topic(entity.options.get(topic), "command topic")}
        given = entity.options.get(text)
        template = None if given in (None, "") else self.template(given)
        sent = {ours: self.word(payload) for ours, payload in payloads.items()}
        if template is not None and template.payload is not None:
            order["payload"] = _payload(template.payload)
        elif template is not None:
            sent = {ours: self.word(template.order(payload)) for ours, payload in sent.items()}
        if len(set(sent.values())) < len(sent):
            raise InvalidError("Its orders are not different words.")
        if any(ours != word for ours, word in sent.items()):
            order["words"] = sent
        return order | _retain(entity.options)


def _payload(text: str) -> str:
    if len(text) > _MOST_PAYLOAD or any(match != "{value}" for match in _PLACEHOLDER.findall(text)):
        raise InvalidError("Its command template is too long, or has names in braces.")
    return text


def _retain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"retain": True} if options.get("retain") is True else {}


def spelled(value: object) -> str:
    """Return a word of discovery as it is sent: JSON's `true` is `true`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, str | int | float) else ""


def heard_words(meanings: Mapping[str, Iterable[object]]) -> dict[str, str]:
    """Return the words by which a state is heard, and what each means: theirs to ours.

    A word of theirs may come as text, as JSON, or as a template writes it (`True`). Raises InvalidError where two of
    ours are the same of theirs.
    """
    result: dict[str, str] = {}
    for ours, theirs in meanings.items():
        for word in theirs:
            for spelling in _spellings(spelled(word)):
                if result.setdefault(spelling, ours) != ours:
                    raise InvalidError(f"Its states {ours} and {result[spelling]} are the same word.")
    if set(result.values()) != set(meanings):
        raise InvalidError("Its states are not short words.")
    return result


def _spellings(word: str) -> list[str]:
    if not word or len(word) > _MOST_WORD or not word.isprintable():
        return []
    also = {"True": "true", "False": "false"}.get(word, word)
    try:
        number = f"{float(word):.15g}"
    except ValueError:
        number = word
    return list(dict.fromkeys([word, also, number]))
