"""Compiles each template string once, and none that has no Jinja in it: most have none.

Copier renders the same strings again and again: the type of a question for each of its choices,
each part of each path. Jinja keeps compiled templates of files, not of strings.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from jinja2 import Environment, Template


class PlainText:
    """Stands for the template of a string that has nothing to render."""

    def __init__(self, text: str, compiled: Callable[[str], Template]) -> None:
        self._text, self._compiled = text, compiled

    def render(self, *_context: object, **_more: object) -> str:
        """The string as it is."""
        return self._text

    def __getattr__(self, name: str) -> object:
        # What Copier does not use today is the real template's.
        return getattr(self._compiled(self._text), name)


def cache_templates(environment: Environment) -> None:
    """Give an environment a memory of its own; a string that is none still raises TypeError."""
    compiled = cache(environment.from_string)
    starts = (
        environment.block_start_string,
        environment.variable_start_string,
        environment.comment_start_string,
        "\n",  # which Jinja may change or drop
        "\r",
    )

    def from_string(source: str) -> Template | PlainText:
        environment.preprocess("")  # lets Copier's `yield` forget the string before this one
        plain = isinstance(source, str) and not any(start in source for start in starts)
        return PlainText(source, compiled) if plain else compiled(source)

    environment.from_string = from_string  # type: ignore[assignment,method-assign]
