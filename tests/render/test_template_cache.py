"""What keeps Copier fast: strings that are compiled once, menus that nobody sees left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from copier import run_copy
from copier._jinja_ext import YieldExtension, get_yield_context
from copier.errors import UserMessageError
from jinja2.sandbox import SandboxedEnvironment

from render.projects import copy, files, recorded
from torch_template.template_cache import cache_templates


def environment(**options: str | bool) -> SandboxedEnvironment:
    made = SandboxedEnvironment(extensions=[YieldExtension], **options)
    cache_templates(made)
    return made


def test_a_string_is_compiled_once_in_each_environment() -> None:
    one, other = environment(), environment()
    template = one.from_string("{{ n }}")
    assert one.from_string("{{ n }}") is template
    assert other.from_string("{{ n }}") is not template
    assert [template.render(n=n) for n in (1, 2)] == ["1", "2"]


@pytest.mark.parametrize("value", [3, None, ["{{ n }}"], {"n": 1}], ids=str)
def test_what_is_no_string_raises_what_copier_expects(value: object) -> None:
    for _ in range(2):
        with pytest.raises(TypeError):
            environment().from_string(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "plain", "{ 'no': 'Jinja' }", "#", "% }}", "two\nlines\n", "\r\n", "# {{ 1 }}"]
)
@pytest.mark.parametrize(
    "options", [{}, {"keep_trailing_newline": True}, {"variable_start_string": "[["}], ids=str
)
def test_a_string_without_jinja_is_what_jinja_makes_of_it(
    text: str, options: dict[str, Any]
) -> None:
    expected = SandboxedEnvironment(**options).from_string(text).render(n=1)
    template = environment(**options).from_string(text)
    assert template.render({"m": 1}, n=1) == "".join(template.generate(n=1)) == expected


def test_a_fork_may_still_loop_over_paths() -> None:
    env = environment()
    loop = "{% yield one from [1, 2] %}{{ one }}{% endyield %}"
    for _ in range(2):
        env.from_string(loop).render()
        assert get_yield_context(env).yield_name == "one"
        env.from_string("plain").render()
        assert get_yield_context(env).yield_name is None


def test_with_every_answer_given_the_project_is_the_same_and_wrong_ones_are_refused(
    template: Path, tmp_path: Path
) -> None:
    usual = copy(template, tmp_path / "usual", compute_platform="cu130")
    answers = {k: v for k, v in recorded(usual).items() if not k.startswith("_")}
    assert files(copy(template, tmp_path / "given", **answers)) == files(usual)
    for name, wrong in {"license": "GPL", "compute_platform": "cu999", "ci": "jenkins"}.items():
        with pytest.raises(UserMessageError, match=f"^{name}: '{wrong}' is not on offer"):
            copy(template, tmp_path / "wrong", **(answers | {name: wrong}))


def test_a_menu_that_somebody_asks_for_is_whole(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = recorded(copy(template, tmp_path / "usual", package_manager="pip"))
    answers = {name: value for name, value in answers.items() if not name.startswith("_")}
    shown = {}

    def prompt(questions: list[dict[str, Any]], answers: dict[str, Any]) -> dict[str, Any]:
        shown.update({one["name"]: [line.value for line in one["choices"]] for one in questions})
        return answers

    monkeypatch.setattr("copier._main.unsafe_prompt", prompt)
    ask = ("package_manager", "compute_platform")
    run_copy(str(template), tmp_path / "asked", answers, ask=ask, unsafe=True, quiet=True)

    assert shown["package_manager"] == ["uv", "poetry", "pip"]
    assert len(shown["compute_platform"]) > 10
    assert recorded(tmp_path / "asked")["package_manager"] == "pip"
