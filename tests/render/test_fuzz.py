"""Any text at all is either refused, or comes back from the rendered files as it was."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from render.reading import Builds, Requirements, pyproject
from render.shortcut import answers_for, shortcut
from torch_template.answers import (
    ERRORS,
    default_package_name,
    package_name_error,
    project_name_error,
)
from torch_template.build import Asked

pytestmark = pytest.mark.slow

# All of Unicode, with more of what has a meaning in some format.
ANY_TEXT = st.text(
    st.one_of(st.characters(), st.sampled_from("\"'\\`$%{}[]<>#&|;:,=*~!-\t\n\r\x00\x7f\u202e"))
)
NAMES = st.one_of(
    ANY_TEXT, st.from_regex(r"[A-Za-z0-9._-]{1,60}", fullmatch=True), st.sampled_from(["con", "os"])
)
URLS = st.one_of(
    ANY_TEXT,
    st.builds("https://{}/{}".format, ANY_TEXT, ANY_TEXT),
    st.from_regex(r"https?://[a-z0-9.:@\[\]-]{1,20}(/[a-z0-9%~._-]{0,9}){0,3}", fullmatch=True),
)
MANAGERS = st.sampled_from(["uv", "poetry", "pip"])
FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def render(template: Path, manager: str, **answers: str) -> dict[str, str]:
    asked = Asked(manager, "3.12", "cu130", packages=("torchvision",))
    return shortcut(template).render(answers_for(asked, **answers))


@lru_cache(maxsize=1 << 10)
def assert_parses(name: str, text: str) -> None:
    """Most files have the same text each time, and are parsed once."""
    if name.endswith(".yml"):
        yaml.safe_load(text)
    elif name.startswith("requirements/"):
        Requirements.parse(text)
    elif name.endswith(".py"):
        compile(text, name, "exec")


def written(files: dict[str, str]) -> dict[str, Any]:
    """The project table, once everything that could have been broken parses."""
    Builds.parse(files["scripts/torch_builds.json"])
    for name, text in files.items():
        assert_parses(name, text)
    table: dict[str, Any] = pyproject(files["pyproject.toml"])["project"]
    return table


def recorded(files: dict[str, str]) -> dict[str, Any]:
    answers: dict[str, Any] = yaml.safe_load(files[".copier-answers.yml"])
    return answers


@FUZZ
@given(text=ANY_TEXT, manager=MANAGERS)
def test_any_description(template: Path, text: str, manager: str) -> None:
    assume(not ERRORS["project_description"](text))
    files = render(template, manager, project_description=text)
    assert written(files)["description"] == text
    assert recorded(files)["project_description"] == text


@FUZZ
@given(name=ANY_TEXT, email=st.one_of(st.just(""), st.emails()), manager=MANAGERS)
def test_any_author(template: Path, name: str, email: str, manager: str) -> None:
    assume(not ERRORS["user_name"](name) and not ERRORS["user_email"](email))
    files = render(template, manager, user_name=name, user_email=email)
    author = {key: value for key, value in {"name": name, "email": email}.items() if value}
    assert written(files).get("authors", [{}]) == [author]
    assert {key: recorded(files)[f"user_{key}"] for key in author} == author


@FUZZ
@given(name=NAMES, manager=MANAGERS)
def test_any_project_name(template: Path, name: str, manager: str) -> None:
    assume(not project_name_error(name))
    package = default_package_name(name)
    files = render(template, manager, project_name=name, package_name=package)
    assert written(files)["name"] == name
    assert recorded(files)["project_name"] == name


@FUZZ
@given(name=st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?", fullmatch=True))
def test_every_project_name_gives_a_package_name_that_can_be_used(name: str) -> None:
    assume(not project_name_error(name))
    assert package_name_error(default_package_name(name)) == ""


@FUZZ
@given(url=URLS, manager=MANAGERS)
def test_any_index_url(template: Path, url: str, manager: str) -> None:
    assume(not ERRORS["pytorch_index_url"](url))
    files = render(template, manager, pytorch_index_url=url)
    written(files)
    index = Builds.parse(files["scripts/torch_builds.json"]).build["index_url"]
    assert index == f"{url.rstrip('/')}/cu130"
    assert recorded(files)["pytorch_index_url"] == url


@FUZZ
@given(text=ANY_TEXT)
@pytest.mark.parametrize("question", ERRORS)
def test_every_refusal_is_one_line_that_can_be_printed(question: str, text: str) -> None:
    sentence = ERRORS[question](text)
    assert sentence == "" or sentence.isprintable()
