"""Checks of the answers that people type, and escaping of what is rendered.

`check_answer` refuses, with one sentence and without a traceback, what was given with --data, in
settings.yml or in a recorded answers file and cannot be used.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from copier.errors import UserMessageError
from jinja2 import Environment, pass_context
from jinja2.ext import Extension
from jinja2.runtime import Context

LONGEST_NAME = 50  # keeps rendered lines below 100 characters, and paths below 120
LONGEST_TEXT = 500
# A project that has one of these names would shadow, or depend on, itself.
DEPENDENCIES = frozenset(
    {"copier", "filelock", "fsspec", "hatchling", "jinja2", "markupsafe", "mpmath", "mypy"}
    | {"networkx", "numpy", "nvidia", "pip", "poetry", "poetry-core", "pytest", "pytorch"}
    | {"pytorch-triton-rocm", "pytorch-triton-xpu", "ruff", "setuptools", "sympy", "torch"}
    | {"torchaudio", "torchvision", "triton", "triton-rocm", "triton-xpu", "typing-extensions"}
    | {"uv", "wheel"}
)
# Modules of the standard library of any offered Python, whichever of them runs Copier: 3.12 and
# 3.13 removed some, 3.14 added some.
STDLIB = frozenset(
    sys.stdlib_module_names
    | {"aifc", "asynchat", "asyncore", "audioop", "binhex", "cgi", "cgitb", "chunk", "crypt"}
    | {"distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "pipes"}
    | {"ossaudiodev", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"}
    | {"annotationlib", "compression", "tomllib"}
)
FOLDERS = frozenset({"build", "dist", "docs", "requirements", "scripts", "src", "test", "tests"})
# Names that Windows keeps for devices, in any case and with any extension.
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
)
JOINERS = "\u200c\u200d\u200e\u200f"  # emoji and right-to-left scripts need these


def normalized(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def default_package_name(project_name: str) -> str:
    """An importable name for a project: `My-Project` -> `my_project`, `2d` -> `project_2d`."""
    name = re.sub(r"\W|_", "_", normalized(project_name), flags=re.ASCII)
    return f"project_{name}" if package_name_error(name) else name


def project_name_error(name: str) -> str:
    """Why a distribution name cannot be used, or the empty string."""
    if len(name) > LONGEST_NAME:
        return f"the project name has {len(name)} characters: use at most {LONGEST_NAME}"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        return (
            "a project name consists of ASCII letters, digits, '-', '_' and '.', and begins and"
            " ends with a letter or digit: use a name such as my-torch-project"
        )
    if normalized(name) in DEPENDENCIES:
        return f"a project named {name} could not install {name}: use another name"
    if name.partition(".")[0].lower() in DEVICES:
        return f"Windows keeps {name} for a device: use another name"
    return ""


def package_name_error(name: str) -> str:
    """Why an import name cannot be used, or the empty string."""
    if len(name) > LONGEST_NAME:
        return f"the package name has {len(name)} characters: use at most {LONGEST_NAME}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return (
            "a package name consists of lower-case ASCII letters, digits and '_', and begins with"
            " a letter: use a name such as my_torch_project"
        )
    if keyword.iskeyword(name):
        return f"{name} is a keyword of Python: use another name"
    if name in STDLIB or normalized(name) in DEPENDENCIES or name in FOLDERS:
        return f"a package named {name} would shadow another one: use another name"
    if name in DEVICES:
        return f"Windows keeps {name} for a device: use another name"
    return ""


def text_error(text: str) -> str:
    """Why a line of text cannot be used, or the empty string. Any script and emoji are fine."""
    if len(text) > LONGEST_TEXT:
        return f"the text has {len(text)} characters: use at most {LONGEST_TEXT}"
    forbidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    for character in text:
        if unicodedata.category(character) in forbidden and character not in JOINERS:
            return f"the text has the control character U+{ord(character):04X}: use one plain line"
    return ""


def user_name_error(name: str) -> str:
    """Why an author's name cannot be used, or the empty string."""
    if name and not name.strip():
        return "the name is blank: leave it empty, or give a name"
    if re.search("[,<>]", name):
        return "package metadata allows no ',', '<' or '>' in an author's name: leave them out"
    return text_error(name)


def user_email_error(email: str) -> str:
    """Why an author's e-mail address cannot be used, or the empty string."""
    if email and not re.fullmatch(
        r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", email
    ):
        return f"{email!r} is no e-mail address: use one such as me@example.com, or leave it empty"
    return ""


def index_url_error(url: str) -> str:
    """Why the base URL of the PyTorch index cannot be used, or the empty string."""
    example = "use a base such as https://download.pytorch.org/whl"
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        return f"the index URL cannot be parsed: {example}"
    if parts.username or parts.password or "@" in parts.netloc:
        return (
            "the index URL holds credentials, which would be committed: leave them out, and set"
            " them in the environment or in a netrc file"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        return f"the index URL must begin with http:// or https:// and a host: {example}"
    if parts.query or parts.fragment or not re.fullmatch(r"[A-Za-z0-9:/.\[\]_~%+-]+", url):
        return f"the index URL has characters other than those of a plain path: {example}"
    return ""


ERRORS: dict[str, Callable[[str], str]] = {
    "project_name": project_name_error,
    "package_name": package_name_error,
    "project_description": text_error,
    "user_name": user_name_error,
    "user_email": user_email_error,
    "pytorch_index_url": index_url_error,
}
CHOICES = {
    "package_manager": {
        "uv": "uv - fastest, one lock file for all platforms",
        "poetry": "Poetry - one lock file for all platforms",
        "pip": "pip - no lock file, exact pins of the PyTorch build",
    },
    "license": {
        "MIT": "MIT - short and permissive",
        "Apache-2.0": "Apache-2.0 - permissive, with a patent grant",
        "BSD-3-Clause": "BSD-3-Clause - permissive, as PyTorch itself",
        "Proprietary": "Proprietary - all rights reserved",
    },
    "ci": {
        "github": "GitHub Actions",
        "gitlab": "GitLab CI",
        "none": "none",
    },
}


COPIER_YML = Path(__file__).parents[1] / "copier.yml"
NOT_GIVEN = object()


@lru_cache
def questions() -> frozenset[str]:
    """The names of this version's questions, a fork's own ones with them."""
    text = COPIER_YML.read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([A-Za-z]\w*):", text, re.MULTILINE))


def are_recorded(context: Context) -> bool:
    """Whether the given answers are recorded ones, so that no menu is shown.

    An update renders the old and the new version with them, to see what the owner changed since.
    """
    return "_commit" in context["_copier_conf"]["data"]


def given_answer(context: Context, question: str) -> object:
    """The answer that Copier takes without showing the question, or NOT_GIVEN.

    That is one from --data, a recorded one where no questions are asked, or one from settings.yml.
    """
    conf = context["_copier_conf"]
    if question in conf["data"]:
        return conf["data"][question]
    if question in context:
        silent = conf["defaults"] or conf["skip_answered"]
        return context[question] if silent else NOT_GIVEN
    return conf["settings"].defaults.get(question, NOT_GIVEN)


def refuse_unknown(context: Context) -> None:
    """Stop at a name that Copier would ignore, and take the default of the question that was meant.

    That is any name of an answers file, and one of --data that nearly is a question's.

    Raises:
        UserMessageError: with the name that was meant, if one is near.
    """
    conf = context["_copier_conf"]
    for name in conf["data"].keys() - questions():
        near = get_close_matches(name, questions(), 1, 0.8)
        meant = f": did you mean {near[0]}?" if near else "."
        if are_recorded(context) and not name.startswith("_"):
            raise UserMessageError(
                f"{name} in {conf['answers_file']} is no question of version"
                f" {conf['data']['_commit']}{meant} Correct that line or take it out, and commit."
            )
        if near:
            raise UserMessageError(f"{name} is no question{meant}")


def refuse_missing(context: Context, question: str) -> None:
    """Stop if an answers file lost an answer: the default need not be what the project has.

    Raises:
        UserMessageError: that says how to find it.
    """
    conf = context["_copier_conf"]
    if question == "pytorch_index_url" and conf["data"].get("compute_platform") == "pypi":
        return  # not asked, so not recorded
    if are_recorded(context) and question not in conf["data"]:
        file = conf["answers_file"]
        raise UserMessageError(
            f"{question}: {file} has no answer. Write its line back (`git log -p -- {file}` shows"
            " it), and commit."
        )


def type_error(value: object) -> str:
    """Why a value of a data file is no text, or the empty string."""
    if isinstance(value, str):
        return ""
    if isinstance(value, float):
        return f"{value} was read as a number: write it in quotes, e.g. '3.10'"
    return f"{value!r} is not text: write it in quotes, or leave it out"


def to_toml(text: str) -> str:
    """A TOML basic string. JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def to_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|$&~!])", r"\\\1", text)


class AnswersExtension(Extension):
    """Registers the checks as Jinja globals and the escapes as filters."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.globals.update(
            answer_choices=self.choices,
            check_answer=self.check_answer,
            answer_error=lambda question, value: ERRORS[question](value),
            answers_are_recorded=pass_context(are_recorded),
        )
        environment.filters.update(
            default_package_name=default_package_name, to_toml=to_toml, to_markdown=to_markdown
        )

    @staticmethod
    @pass_context
    def choices(context: Context, question: str) -> str:
        """The `choices` of a question whose choices never change, as JSON (which is YAML)."""
        if are_recorded(context):
            return json.dumps(list(CHOICES[question]))
        return json.dumps([[label, value] for value, label in CHOICES[question].items()])

    @pass_context
    def check_answer(self, context: Context, question: str) -> bool:
        """Stop with one sentence if a given answer cannot be used; else true, for `ask`.

        Without this, Copier would replace a recorded value that is no choice any more by the
        default without a word, and answer --data by a traceback.

        Raises:
            UserMessageError: what is wrong and what to do.
        """
        refuse_unknown(context)
        refuse_missing(context, question)
        value = given_answer(context, question)
        if value is NOT_GIVEN:
            return True
        parts = [value]
        if question == "torch_packages":
            parts = value if isinstance(value, list) else []
        error: str | None = next((text for part in parts if (text := type_error(part))), None)
        if error:
            pass
        elif question in ERRORS:
            error = ERRORS[question](str(value))
        elif question in CHOICES:
            values = ", ".join(CHOICES[question])
            error = f"{value!r} is not on offer: choose {values}"
            error = None if value in CHOICES[question] else error
        else:
            why_not: Any = self.environment.globals["matrix_why_not"]
            error = why_not(context, question, value)
        if error:
            conf = context["_copier_conf"]
            own = question in conf["data"] or question in context
            where = "" if own else " in your settings.yml"
            raise UserMessageError(f"{question}{where}: {error}.")
        return True
