"""Checks of the answers that people type, and escapes for the files that they are rendered into."""

from __future__ import annotations

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from .managers.lines import PLACE

LONGEST_NAME = 50  # keeps rendered lines below 100 characters, and paths below 120
LONGEST_TEXT = 500
PLATFORM = r"cpu|cu\d+|rocm\d+(?:\.\d+)*|xpu"
# What a project's dependencies are called, and the modules that they bring: written by
# tools/dependency_names.py.
FOUND = json.loads(Path(__file__).with_name("dependencies.json").read_text(encoding="utf-8"))
# What makes a project and its .venv, and a name that means another package.
TOOLS = frozenset({"copier", "pip", "poetry", "pytorch", "uv", "wheel"})
DISTRIBUTIONS = TOOLS.union(FOUND["distributions"])
MODULES = TOOLS.union(FOUND["modules"])
# NVIDIA's own names for one major version of CUDA: torch's next release may require more of them.
NVIDIA = r"nvidia-.+-cu\d+"
# Modules of the standard library of any offered Python, whichever of them runs Copier: 3.12 and
# 3.13 removed some, 3.14 and 3.15 added some.
STDLIB = frozenset(
    sys.stdlib_module_names
    | {"aifc", "asynchat", "asyncore", "audioop", "binhex", "cgi", "cgitb", "chunk", "crypt"}
    | {"distutils", "imghdr", "imp", "lib2to3", "mailcap", "msilib", "nis", "nntplib", "pipes"}
    | {"ossaudiodev", "smtpd", "sndhdr", "spwd", "sunau", "telnetlib", "uu", "xdrlib"}
    | {"annotationlib", "compression", "profiling", "tomllib"}
)
FOLDERS = frozenset({"build", "dist", "docs", "requirements", "scripts", "src", "test", "tests"})
# Files of scripts/ and tests/ that mypy would find twice; pytest has a use of its own for the last.
FILES = frozenset({"gpu_smoke_test", "test_device", "test_training", "conftest"})
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
    taken = package_name_error(name) or taken_package_error(name)
    return f"project_{name}" if taken else name


def _form_error(kind: str, name: str, form: str, rule: str) -> str:
    if len(name) > LONGEST_NAME:
        return f"the {kind} name has {len(name)} characters: use at most {LONGEST_NAME}"
    return "" if re.fullmatch(form, name) else f"a {kind} name {rule}"


def project_name_error(name: str) -> str:
    """Why a distribution name cannot be used, or the empty string."""
    form = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
    rule = (
        "consists of ASCII letters, digits, '-', '_' and '.', and begins and ends with a letter or"
        " digit: use a name such as my-torch-project"
    )
    if error := _form_error("project", name, form, rule):
        return error
    if name.partition(".")[0].lower() in DEVICES:
        return f"Windows keeps {name} for a device: use another name"
    return ""


def package_name_error(name: str) -> str:
    """Why an import name cannot be used, or the empty string."""
    rule = (
        "consists of lower-case ASCII letters, digits and '_', and begins with a letter: use a name"
        " such as my_torch_project"
    )
    if error := _form_error("package", name, "[a-z][a-z0-9_]*", rule):
        return error
    if keyword.iskeyword(name):
        return f"{name} is a keyword of Python: use another name"
    if name in DEVICES:
        return f"Windows keeps {name} for a device: use another name"
    return ""


def taken_project_error(name: str) -> str:
    """Why a new project cannot have a name, or the empty string: what it depends on has it."""
    plain = normalized(name)
    if plain in DISTRIBUTIONS or re.fullmatch(NVIDIA, plain):
        return f"a project named {name} could not install {plain}: use another name"
    return ""


def taken_package_error(name: str) -> str:
    """Why a new package cannot have a name, or the empty string: another module has it."""
    if name in STDLIB | MODULES | FOLDERS | FILES:
        return f"a package named {name} would shadow another one: use another name"
    return ""


def moved_error(project: Path, old: str, new: str) -> str:
    """Why a project's package cannot get another name, or the empty string: Copier moves no files.

    What the template has of it would come again under the new name, the owner's edits and modules
    would not.
    """
    source = project / "src" / old
    left = (file for file in source.rglob("*") if file.is_file() and file.suffix != ".pyc")
    if next(left, None) is None:
        return ""
    to_do = f"`git mv src/{old} src/{new}`"
    if (project / "src" / new).exists():
        to_do = f"put what is in src/{old} into src/{new}, which is there already, remove src/{old}"
    return (
        f"the package is in src/{old}, which Copier does not move: {to_do}, write {new} where your"
        f" files have {old} (`git grep --name-only -w {old}`), commit, and run this again"
    )


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
    plain = url.replace(PLACE, "", 1)
    odd = parts.query or parts.fragment or "{" in parts.netloc
    if odd or not re.fullmatch(r"[A-Za-z0-9:/.\[\]_~%+-]+", plain):
        return f"the index URL has characters other than those of a plain path: {example}"
    base, _, last = url.rstrip("/").rpartition("/")
    if re.fullmatch(PLATFORM, last):
        return (
            f"the index URL ends in {last}, which is added for each compute platform: leave it out,"
            f" as in {base}"
        )
    named = re.search(rf"(?<![^/_.-])({PLATFORM})(?![^/_.-])", parts.path)
    if named and PLACE not in url and last in ("simple", "+simple"):
        there = parts._replace(path=parts.path.replace(named[1], PLACE, 1)).geturl()
        return f"the index URL is for {named[1]} alone: say where its name stands, as in {there}"
    return ""


def as_list(value: object) -> list[object] | None:
    """An answer that is a list, which --data gives as text; None if it is none."""
    try:
        found = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return None
    return found if isinstance(found, list) else None


def own_files_error(value: object) -> str:
    """Why these files cannot be left out, or the empty string: they are paths, from the top."""
    paths = as_list(value)
    if paths is None:
        return "it is a list of paths: write own_files=[/README.md], or leave it out"
    for path in paths:
        if not isinstance(path, str) or not re.match(r"/[^\s/]", path):
            return f"{path!r} is no path from the top of the project: write it as /README.md"
    return ""


def bool_error(value: object) -> str:
    """Why this is neither yes nor no, or the empty string. Copier reads a text as YAML does."""
    words = ("y", "yes", "t", "true", "on", "n", "no", "f", "false", "off")
    if isinstance(value, bool) or str(value).lower() in words:
        return ""
    return f"{value!r} is neither yes nor no: write true or false"


ERRORS: dict[str, Callable[[str], str]] = {
    "project_name": project_name_error,
    "package_name": package_name_error,
    "project_description": text_error,
    "user_name": user_name_error,
    "user_email": user_email_error,
    "pytorch_index_url": index_url_error,
}
# A project that has such a name already lives with it.
TAKEN: dict[str, Callable[[str], str]] = {
    "project_name": taken_project_error,
    "package_name": taken_package_error,
}


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
