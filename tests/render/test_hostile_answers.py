"""Answers that break careless templates: each is refused with a sentence, or survives exactly."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier.errors import UserMessageError

from render.projects import copy, files, git, recorded, release, start, update
from render.reading import Requirements, pyproject

MANAGERS = ("uv", "poetry", "pip")
TEXTS = {
    "double quotes": 'a "quoted" word',
    "triple quotes": '"""' + "'''",
    "backslashes": r"C:\new\table \" \\",
    "an expression": "{{ 7*7 }} {{ torch_build() }}",
    "a statement": "{% raw %}{% endraw %}{# comment #}",
    "a shell command": "$(touch x) `touch x`; touch x && touch x | tee x > x",
    "a cmd variable": "%PATH% !PATH! ^& echo",
    "a parent folder": "../../etc/passwd",
    "emoji": "fast \U0001f525 \U0001f469\u200d\U0001f4bb \U0001f3f3\ufe0f\u200d\U0001f308",
    "right-to-left text": "\u05e4\u05e8\u05d5\u05d9\u05e7\u05d8 \u0645\u0634\u0631\u0648\u0639",
    "a combining accent": "e\u0301 and \u00e9",
    "yaml": "- a: [b, {c: d}] # comment",
    "a yaml boolean": "no",
    "a number": "1e3",
    "a yaml document": "--- !!python/object:os.system",
    "toml": '"]\nname = "x"'.replace("\n", " "),
    "html": "<script>alert(1)</script> &amp; <!-- -->",
    "markdown": "# *not* a [heading](x) | `code` ~~no~~ ![x](y)",
    "a format string": "{0} {x!r} %s %(x)s ${x}",
    "surrounding spaces": "  indented  ",
    "nothing": "",
    "300 characters": "x" * 300,
    "500 characters": "\u00e9" * 500,
}
REFUSED_TEXTS = {
    "a line break": "two\nlines",
    "a Windows line break": "two\r\nlines",
    "a tab": "a\tb",
    "a NUL": "a\x00b",
    "an escape sequence": "\x1b[31mred",
    "DEL": "a\x7fb",
    "a C1 control": "a\x85b",
    "a bidirectional override": "abc\u202edcba",
    "a bidirectional isolate": "abc\u2066cba",
    "a line separator": "two\u2028lines",
    "a byte order mark": "\ufeffa",
    "a soft hyphen": "in\u00advisible",
    "501 characters": "x" * 501,
}
NAMES = [
    "a",
    "A.b_c-d",
    "2d",
    "x" * 50,
    "Torch-Lab",
    "pytorch-lab",
    "con-text",
    "json",
    "0",
    "nul1",
]
REFUSED_NAMES = [
    "torch", "Torch", "NumPy", "torchvision", "pytorch_triton_rocm", "pytest", "pillow", "pluggy",
    "mypy-extensions", "cuda-toolkit", "nvidia-cublas", "Nvidia.Cublas_cu11", "intel-sycl-rt",
    "nvidia-cudnn-cu14", "trove-classifiers", "optree",
    "CON", "con", "aux.txt", "NUL", "com1", "LPT9.log", "", " ", "a b", "-a", "a-", ".a", "a.",
    "../a", "a/b", "a\\b", "a\nb", "$(touch x)", "%PATH%", "{{ 7*7 }}", "{% raw %}", "'", '"',
    "caf\u00e9", "\u03b1", "a\u202eb", "x" * 51, "x" * 300,
]  # fmt: skip
PACKAGES = ["a", "x1", "torch_lab", "my_2d", "bootstrap", "x" * 50, "match", "case", "type", "conx"]
REFUSED_PACKAGES = [
    "gpu_smoke_test", "test_device", "conftest", "torchgen", "mypy_extensions", "opt_einsum",
    "torch", "class", "None", "test", "tests", "src", "numpy", "__init__", "json", "con", "aux",
    "nul", "com1", "os", "A", "_a", "2a", "a-b", "a.b", "a b", "../a", "a\n", "caf\u00e9", "\u03b1",
    "{{ 7*7 }}", "$(touch x)", "x" * 51, "",
]  # fmt: skip
URLS = {
    "http://localhost:8080/whl": "http://localhost:8080/whl",
    "https://mirror.example/artifactory/api/pypi/torch": None,
    "https://mirror.example/whl/": "https://mirror.example/whl",
    "https://mirror.example/whl///": "https://mirror.example/whl",
    "https://mirror.example": None,
    "https://[2001:db8::1]:8443/whl": None,
    "https://mirror.example/~me/my%20mirror": None,
}
REFUSED_URLS = [
    "https://m.example.com/whl/cu130",
    "https://m.example.com/whl/cpu/",
    "", "mirror.example/whl", "ftp://mirror.example/whl", "file:///srv/whl", "https://", "//a/whl",
    "https:///whl", "https://me:secret@mirror.example/whl", "https://me@mirror.example/whl",
    "https://:secret@mirror.example/whl", "https://mirror.example/a b", "https://mirror.example/\n",
    "https://mirror.example/whl?token=x", "https://mirror.example/whl#x", "https://[::1/whl",
    "https://mirror.example:port/whl", "https://mirror.example:99999/whl", "https://a\"b/whl",
    "https://mirror.example/{{ 7*7 }}", "https://mirror.example/$(touch x)", "https://m.example/;x",
    "javascript:alert(1)", "https://mirror.example/\u202e", "https://mirror.example/\\..\\",
]  # fmt: skip
EMAILS = ["me@example.com", "a.b+c@sub.example.org", "o'hara@example.com", ""]
REFUSED_EMAILS = ["me", "me@", "@x.org", "a b@x.org", "me@x.org\n", "<me@x.org>", '"me"@x.org']


def refused(template: Path, project: Path, question: str, value: str) -> None:
    with pytest.raises(UserMessageError) as error:
        copy(template, project, **{question: value})
    sentence = str(error.value)
    assert sentence.startswith(f"{question}: ")
    assert len(sentence.splitlines()) == 1
    assert len(sentence) < 600
    assert not project.exists()


def parsed(project: Path) -> dict[str, Any]:
    """The data of pyproject.toml, once every file of the project parses."""
    for name, content in files(project).items():
        text = content.decode()
        if name.endswith(".py"):
            compile(text, name, "exec")
        elif name.endswith(".json"):
            json.loads(text)
        elif name.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
        elif name.startswith("requirements/"):
            assert Requirements.parse(text).lines
    return pyproject((project / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.few(4)
@pytest.mark.parametrize("kind", TEXTS)
def test_a_text_survives_exactly(template: Path, tmp_path: Path, kind: str) -> None:
    text = TEXTS[kind]
    safe_name = re.sub("[<>,]", "", text)  # the others are refused
    answers = {"project_description": text, "user_name": safe_name}
    manager = MANAGERS[len(kind) % 3]
    project = copy(template, tmp_path / "project", **answers, package_manager=manager)
    plain = copy(template, tmp_path / "plain", package_manager=manager)
    data = parsed(project)["project"]
    assert data["description"] == text
    assert data.get("authors", [{"name": ""}]) == [{"name": safe_name}]
    assert {key: recorded(project)[key] for key in answers} == answers
    assert set(files(project)) == set(files(plain))
    license_text = (project / "LICENSE").read_text(encoding="utf-8")
    assert safe_name in license_text
    assert not Path("x").exists()


@pytest.mark.parametrize("question", ["project_description", "user_name"])
@pytest.mark.parametrize("kind", REFUSED_TEXTS)
def test_a_text_is_refused_that_has(
    template: Path, tmp_path: Path, kind: str, question: str
) -> None:
    refused(template, tmp_path / "project", question, REFUSED_TEXTS[kind])


@pytest.mark.parametrize("name", ["Doe, Jane", "<jane>", "Jane <jane@example.com>"])
def test_an_author_is_refused_that_metadata_cannot_hold(
    template: Path, tmp_path: Path, name: str
) -> None:
    refused(template, tmp_path / "project", "user_name", name)


@pytest.mark.few(5)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_project_name_survives_and_gives_an_importable_package(
    template: Path, tmp_path: Path, name: str
) -> None:
    project = copy(template, tmp_path / "project", project_name=name)
    assert parsed(project)["project"]["name"] == name
    assert recorded(project)["project_name"] == name
    package = recorded(project)["package_name"]
    assert package.isidentifier()
    assert package not in ("torch", "json", "test")
    assert (project / "src" / package / "device.py").is_file()


@pytest.mark.parametrize("name", REFUSED_NAMES, ids=ascii)
def test_a_project_name_is_refused(template: Path, tmp_path: Path, name: str) -> None:
    refused(template, tmp_path / "project", "project_name", name)


@pytest.mark.few(4)
@pytest.mark.parametrize("name", PACKAGES, ids=ascii)
def test_a_package_name_survives(template: Path, tmp_path: Path, name: str) -> None:
    project = copy(template, tmp_path / "project", package_name=name)
    parsed(project)
    assert (project / "src" / name / "device.py").is_file()
    assert f"from {name}.device import" in (project / "tests/test_device.py").read_text()


@pytest.mark.parametrize("name", REFUSED_PACKAGES, ids=ascii)
def test_a_package_name_is_refused(template: Path, tmp_path: Path, name: str) -> None:
    refused(template, tmp_path / "project", "package_name", name)


@pytest.mark.parametrize("question", ["project_name", "package_name"])
@pytest.mark.parametrize("name", ["sympy", "networkx", "jinja2", "filelock", "fsspec", "mpmath"])
def test_the_name_of_what_torch_itself_requires_is_refused(
    template: Path, tmp_path: Path, name: str, question: str
) -> None:
    refused(template, tmp_path / "project", question, name)


@pytest.mark.parametrize("name", ["compression", "annotationlib"])
def test_a_module_that_only_a_newer_python_has_is_refused(
    template: Path, tmp_path: Path, name: str
) -> None:
    refused(template, tmp_path / "project", "package_name", name)


@pytest.mark.few(3)
@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.parametrize("url", URLS)
def test_an_index_url_is_rendered_without_its_last_slash(
    template: Path, tmp_path: Path, url: str, manager: str
) -> None:
    project = copy(template, tmp_path / "p", pytorch_index_url=url, package_manager=manager)
    parsed(project)
    assert recorded(project)["pytorch_index_url"] == url
    index = f"{URLS[url] or url}/cpu"
    data = json.loads((project / "scripts/torch_builds.json").read_text(encoding="utf-8"))
    assert data["builds"]["cpu"]["index_url"] == index
    lines = [text.decode() for name, text in files(project).items() if "torch-cpu" in name]
    lines.append((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"{index}/torch/\n" in lines[0] if manager == "pip" else f'"{index}"' in lines[0]


@pytest.mark.few(10)
@pytest.mark.parametrize("url", REFUSED_URLS, ids=ascii)
def test_an_index_url_is_refused(template: Path, tmp_path: Path, url: str) -> None:
    refused(template, tmp_path / "project", "pytorch_index_url", url)


def test_a_refused_url_does_not_repeat_its_password(template: Path, tmp_path: Path) -> None:
    with pytest.raises(UserMessageError) as error:
        copy(template, tmp_path / "p", pytorch_index_url="https://me:hunter2@mirror.example/whl")
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("email", EMAILS)
def test_an_email_address_survives(template: Path, tmp_path: Path, email: str) -> None:
    project = copy(template, tmp_path / "project", user_email=email)
    expected = [{"email": email}] if email else None
    assert parsed(project)["project"].get("authors") == expected


@pytest.mark.parametrize("email", REFUSED_EMAILS, ids=ascii)
def test_an_email_address_is_refused(template: Path, tmp_path: Path, email: str) -> None:
    refused(template, tmp_path / "project", "user_email", email)


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory, git_template: Path) -> Path:
    """The template with a second version, which changes a file that has no answers in it."""
    repository = tmp_path_factory.mktemp("next") / "torch-starter"
    git(git_template, "clone", "--quiet", ".", str(repository))
    with (repository / "template" / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("*.log\n")
    release(repository, "v1.1.0")
    return repository


@pytest.mark.some(5)
@pytest.mark.few(1)
@pytest.mark.parametrize("first", range(0, len(TEXTS) - 2, 2))
def test_an_update_works_after_hostile_answers(
    next_version: Path, tmp_path: Path, first: int
) -> None:
    description, user_name = list(TEXTS.values())[first : first + 2]
    answers = {"project_description": description, "user_name": re.sub("[<>,]", "", user_name)}
    project = start(next_version, tmp_path / "project", **answers)
    before = files(project)
    update(project)
    assert {name: recorded(project)[name] for name in answers} == answers
    changed = {name for name, content in files(project).items() if before.get(name) != content}
    assert changed == {".gitignore", ".copier-answers.yml"}
