"""Compiles each template once in a process, and no string that has no Jinja in it: most have none.

Copier renders the same strings again and again: the type of a question for each of its choices,
each part of each path. An update does so in four environments, of which three are of one version.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import CodeType

from jinja2 import BytecodeCache, Environment, Template
from jinja2.bccache import Bucket
from jinja2.lexer import Lexer


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


class Memory(BytecodeCache):
    """The code of all templates, by their text; of files not by the clone that they lie in."""

    def __init__(self) -> None:
        self.codes: dict[tuple[Lexer, str], CodeType] = {}  # Jinja has one lexer for each syntax

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """The name in the template, without the clone's folder."""
        return super().get_cache_key(name)

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give the code of this very text, if there is some."""
        bucket.code = self.codes.get((bucket.environment.lexer, bucket.key + bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep the code."""
        if bucket.code:
            self.codes[bucket.environment.lexer, bucket.key + bucket.checksum] = bucket.code


MEMORY = Memory()  # of this version: each has modules of its own


def cache_templates(environment: Environment) -> None:
    """Let an environment use what was compiled before; no string at all still raises TypeError."""
    environment.bytecode_cache = MEMORY

    @cache
    def compiled(source: str) -> Template:
        key = (environment.lexer, source)
        if key not in MEMORY.codes:
            MEMORY.codes[key] = environment.compile(source)
        globals_ = environment.make_globals(None)
        return Template.from_code(environment, MEMORY.codes[key], globals_)

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
