"""Reads pages as a browser would, and says what in them could run or load."""

from html.parser import HTMLParser
from typing import Any

CONTROLS = {"input", "select", "textarea"}


class Page(HTMLParser):
    """One page: its elements, its text, the fields of its forms by action."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.forms: dict[str, dict[str, str]] = {}
        self._form: dict[str, str] = {}
        self._select = ""
        self.feed(text)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append((tag, attributes))
        if tag == "form":
            self._form = self.forms.setdefault(attributes.get("action", ""), {})
        if tag in CONTROLS and "name" in attributes:
            self._form[attributes["name"]] = attributes.get("value", "")
            self._select = attributes["name"] if tag == "select" else ""
        if tag == "option" and self._select and "selected" in attributes:
            self._form[self._select] = attributes.get("value", "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def dangers(page: Page) -> list[str]:
    """Return what a strict policy forbids, or what somebody else's text could have brought."""
    found = []
    for tag, attributes in page.elements:
        if tag == "script" and not attributes.get("src", "").startswith("/ui/static/"):
            found.append(f"script {attributes}")
        if tag in {"style", "iframe", "object", "embed", "base", "img"}:
            found.append(tag)
        found += [f"{tag} {name}" for name in attributes if name.startswith(("on", "hx-on"))]
        found += [f"{tag} style" for name in attributes if name == "style"]
        for name in ("href", "src", "action", "hx-get", "hx-post"):
            scheme = attributes.get(name, "").partition(":")[0].strip().lower()
            if ":" in attributes.get(name, "") and scheme not in {"http", "https"}:
                found.append(f"{tag} {name}={attributes[name]}")
    return found
