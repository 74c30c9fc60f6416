"""What copier.yml asks of each question: its menu, its default, and whether an answer will do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

from copier.errors import UserMessageError
from jinja2 import pass_context
from jinja2.runtime import Context

from . import moves
from .answers import (
    ERRORS,
    TAKEN,
    as_list,
    bool_error,
    moved_error,
    own_files_error,
    type_error,
)
from .build import Asked, Build
from .given import (
    NOT_GIVEN,
    are_recorded,
    forget_default,
    given_answer,
    is_project,
    kept_answer,
    read_questions,
    refuse_missing,
    refuse_unknown,
)
from .machine_hint import MachineHint
from .matrix.facts import COMPANIONS
from .matrix.model import Matrix
from .menus import (
    FIXED_MENUS,
    LISTS,
    USUAL_FILES,
    YOUNG,
    Choice,
    compute_platform_choices,
    extra_file_choices,
    extra_platform_choices,
    fixed_choices,
    python_choices,
    starter_choices,
    torch_package_choices,
    torch_version_choices,
    why_not,
)
from .reasons import why_no_extra


def companions(answer: object) -> list[str]:
    """Those that a recorded answer names."""
    return [name for name in COMPANIONS if isinstance(answer, list) and name in answer]


def _no_mark(_: Build) -> str:
    return ""


class Questions:
    """The questions of copier.yml, with the answers given so far."""

    def __init__(self, matrix: Matrix, copier_yml: Path) -> None:
        self._matrix = matrix
        self._questions = read_questions(copier_yml)
        self.hint = MachineHint(matrix)

    def kept(self, context: Context, question: str) -> object:
        """The answer that a project has had so far, NOT_GIVEN if there is none."""
        return kept_answer(context, question, self._questions)

    def asked(self, context: Context, extras_too: bool = False) -> Asked:
        """What the answers that were given so far ask for."""
        policy, packages = self._matrix.policy, context.get("torch_packages")
        extras = as_list(context.get("extra_compute_platforms", []))
        return Asked(
            manager=context.get("package_manager", "uv"),
            python=context.get("python_version", policy.python.default),
            compute_platform=context.get("compute_platform", policy.compute_platforms.default),
            torch=context.get("torch_version", "latest"),
            packages=tuple(packages if isinstance(packages, list) else ()),
            extras=tuple(map(str, extras or ())) if extras_too else (),
            answers_file=Path(context["_copier_conf"]["answers_file"]).as_posix(),
        )

    def _choices(
        self, context: Context, question: str, mark: Callable[[Build], str] = _no_mark
    ) -> list[Choice]:
        matrix, asked, current = self._matrix, self.asked(context), context.get(question)
        match question:
            case "python_version":
                return python_choices(matrix, current)
            case "compute_platform":
                return compute_platform_choices(matrix, asked, current, mark)
            case "torch_version":
                return torch_version_choices(matrix, asked)
            case "starter":
                return starter_choices(matrix, asked, current)
            case "torch_packages":
                kept = self.kept(context, question)
                return torch_package_choices(matrix, asked, companions(kept))
            case "extra_files":
                return extra_file_choices(context.get("ci", "github"))
            case "extra_compute_platforms":
                return extra_platform_choices(matrix, asked, self._kept_extras(context))
        return fixed_choices(question)

    @pass_context
    def choices_of(self, context: Context, question: str) -> str:
        """A question's `choices`, as JSON (which is YAML).

        Copier compiles and renders each string in it. Where it is to show no menu, as in two of the
        three times that an update renders a project, it gets the values alone, or the one that
        `check_answer` holds against the whole menu.
        """
        fixed = FIXED_MENUS.get(question)
        if are_recorded(context) and question != "torch_packages":
            recorded = context["_copier_conf"]["data"][question]
            several = as_list(recorded) if question in LISTS else [recorded]
            return json.dumps(list(fixed or several or ()))
        mark = _no_mark if fixed else self.hint.mark_for(context, question)
        return json.dumps(
            [
                [
                    one.label,
                    {"value": one.value, "validator": one.why_not} if one.why_not else one.value,
                ]
                for one in self._choices(context, question, mark)
            ]
        )

    @pass_context
    def default_of(self, context: Context, question: str) -> str:
        """A question's `default`: the policy's, where it fits; torchvision if it has a partner.

        A project that is older than the question for the starter gets nothing added.
        """
        policy = self._matrix.policy
        if question == "extra_files":
            return json.dumps([] if is_project(context) else USUAL_FILES)
        if question not in ("torch_packages", "starter"):
            menu = policy.python if question == "python_version" else policy.compute_platforms
            return menu.default
        usable = {c.value for c in self._choices(context, question) if not c.why_not}
        if question == "torch_packages":
            return json.dumps([name for name in COMPANIONS[:1] if name in usable])
        fits = policy.starter.default in usable and not is_project(context)
        return policy.starter.default if fits else "package"

    @pass_context
    def answer_error(self, context: Context, question: str, value: object) -> str:
        """Why a text, or a list, cannot be the answer to a question, or the empty string."""
        if question == "extra_compute_platforms":
            return self._extras_error(context, value)
        error = ERRORS[question](str(value))
        if error or question not in TAKEN:
            return error
        old = self.kept(context, question)
        if value == old:
            return ""
        if (error := TAKEN[question](str(value))) or question != "package_name":
            return error
        project = Path(context["_copier_conf"]["dst_path"])
        return moved_error(project, old, str(value)) if isinstance(old, str) else ""

    @pass_context
    def check_answer(self, context: Context, question: str) -> bool:
        """Stop with one sentence if a given answer cannot be used; else true, for `ask`.

        Without this, Copier would replace a recorded value that is no choice any more by the
        default without a word, and answer --data by a traceback.

        Raises:
            UserMessageError: what is wrong and what to do.
        """
        refuse_unknown(context, self._questions)
        refuse_missing(context, question)
        if question in YOUNG and self.kept(context, question) is NOT_GIVEN:
            forget_default(context, question)
        value = given_answer(context, question)
        if value is NOT_GIVEN:
            return True
        error = self._error(context, question, value)
        if error:
            conf = context["_copier_conf"]
            own = question in conf["data"] or question in context
            where = "" if own else " in your settings.yml"
            raise UserMessageError(f"{question}{where}: {error}.")
        return True

    def _error(self, context: Context, question: str, value: object) -> str | None:
        """Why a given value cannot be the answer to a question; None if it can."""
        if question == "own_files":
            return own_files_error(value)
        if question == "container":
            return bool_error(value)
        parts = [value]
        if question in LISTS:
            parts = value if isinstance(value, list) else []
        if error := next((text for part in parts if (text := type_error(part))), None):
            return error
        if question in ERRORS:
            return self.answer_error(context, question, str(value))
        return self._why_not(context, question, value)

    def _why_not(self, context: Context, question: str, value: object) -> str | None:
        choices = self._choices(context, question)
        if question in LISTS:
            value = as_list(value)
            if value is None:
                return f"it is a list: write {LISTS[question]}"
        policy = self._matrix.policy
        menus = {"compute_platform": policy.compute_platforms, "python_version": policy.python}
        if question in menus and value not in [choice.value for choice in choices]:
            successor = menus[question].retired.get(str(value))
            if successor:
                return f"{value} is retired: choose {successor}"
        parts = value if isinstance(value, list) else [value]
        why = next((why for part in parts if (why := why_not(choices, part))), None)
        if why is None and question == "extra_compute_platforms":
            why = self.answer_error(context, question, value) or None
        if why is None or question not in LISTS or question in FIXED_MENUS:
            return why
        if value != self.kept(context, question):
            return why
        rest = ", ".join(str(part) for part in parts if not why_not(choices, part))
        rest = "" if rest == ", ".join(map(str, parts)) else rest  # not one, but all together
        given = {} if are_recorded(context) else context["_copier_conf"]["data"]
        words = [f"--data {shlex.quote(f'{k}={v}')}" for k, v in given.items() if k != question]
        update = moves.copier_update(self.asked(context).answers_file)
        # As it was asked for: else this would also bring a newer version of the template.
        ref = context["_copier_conf"]["vcs_ref"]
        now = self.kept(context, "_commit")
        version = [f"--vcs-ref={':current:' if ref == now else ref}"] if ref else []
        command = [update, "--defaults", *version, *words, f'--data "{question}=[{rest}]"']
        return f"{why}, with `{' '.join(command)}`"

    def _extras_error(self, context: Context, value: object) -> str:
        """Why the extra compute platforms cannot all be had, or the empty string."""
        known = self._matrix.compute_platforms
        names = [name for name in map(str, as_list(value) or ()) if name in known]
        kept = self._kept_extras(context)
        return str(why_no_extra(self._matrix, self.asked(context), names, kept) or "")

    def _kept_extras(self, context: Context) -> list[str] | None:
        """The extra compute platforms that a project has already; None for a new one."""
        if not is_project(context):
            return None
        kept = as_list(self.kept(context, "extra_compute_platforms"))
        return [str(name) for name in kept or ()]
