"""What copier.yml and the templates call: the one place where the package meets Jinja."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path

from copier.errors import UserMessageError
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from . import moves, notes
from .answers import (
    ERRORS,
    TAKEN,
    as_list,
    bool_error,
    default_package_name,
    moved_error,
    normalized,
    own_files_error,
    to_markdown,
    to_toml,
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
from .managers import pip, uv
from .managers.lines import (
    chosen,
    index_sources,
    index_url,
    index_version,
    requires_python,
    torch_ranges,
    torch_requirements,
)
from .matrix.facts import COMPANIONS
from .matrix.loading import load_matrix
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
from .reasons import why_no_build, why_no_extra
from .resolving import alternatives, kept_build, older_glibc, same_pythons, same_release
from .torch_builds import torch_builds

# The options by which a container gets the GPUs: Docker's, and Apptainer's.
GPU_FLAGS = {
    "cuda": ("--gpus all ", "--nv "),
    "rocm": ("--device /dev/kfd --device /dev/dri ", "--rocm "),
    "xpu": ("--device /dev/dri ", "--bind /dev/dri "),
}


def gpu_flag(build: Build, tool: str) -> str:
    """What `docker run` or `apptainer run` needs for the GPU of a build, with a space behind it."""
    docker, apptainer = GPU_FLAGS.get(build.main.accelerator, ("", ""))
    return docker if tool == "docker" else apptainer


def companions(answer: object) -> list[str]:
    """Those that a recorded answer names."""
    return [name for name in COMPANIONS if isinstance(answer, list) and name in answer]


def shell_word(path: object) -> str:
    """A path as one types it here."""
    return f'"{path}"' if os.name == "nt" else shlex.quote(str(path))


def _no_mark(_: Build) -> str:
    return ""


class TemplateGlobals:
    """The globals and filters of one Jinja environment, which read the answers given so far."""

    def __init__(self, template: Path) -> None:
        self._matrix = load_matrix()
        self._questions = read_questions(template / "copier.yml")
        self._hint = MachineHint(self._matrix)
        self._before: tuple[str, moves.Platforms] | None = None
        self._moved: list[str] = []
        self._had: object = NOT_GIVEN  # the starter of the project, before anything is written
        self._asked_for: list[str] = []  # files of answers that it had before it is updated
        self._own_files: list[str] = []  # with names of the training's, before it as well
        self._of_training = notes.training_files(template)

    def register(self, environment: Environment) -> None:
        """Put them into an environment."""
        environment.filters.update(
            default_package_name=default_package_name,
            normalized=normalized,
            to_markdown=to_markdown,
            to_toml=to_toml,
        )
        environment.globals.update(
            # copier.yml: questions
            answer_error=self.answer_error,
            check_answer=self.check_answer,
            choices_of=self.choices_of,
            default_of=self.default_of,
            machine_hint=self._hint.hint,
            # copier.yml: messages
            in_repository=self.in_repository,
            owner_notes=self.owner_notes,
            remember_build=self.remember_build,
            shell_word=shell_word,
            update_summary=self.update_summary,
            # files
            brings_training=self.brings_training,
            chosen=chosen,
            cool_down=self._matrix.policy.cool_down,
            copier_update=self.copier_update,
            environments=uv.environments,
            exempt=uv.exempt,
            gpu_flag=gpu_flag,
            find_links=pip.find_links,
            index_sources=index_sources,
            index_url=index_url,
            index_version=index_version,
            pip_lines=pip.pip_lines,
            requires_python=requires_python,
            switch_command=self.switch_command,
            torch_build=self.torch_build,
            torch_builds=self.torch_builds,
            torch_ranges=torch_ranges,
            torch_requirements=torch_requirements,
        )

    # --- Questions

    def _asked(self, context: Context, extras_too: bool = False) -> Asked:
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
        matrix, asked, current = self._matrix, self._asked(context), context.get(question)
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
                kept = kept_answer(context, question, self._questions)
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
        mark = _no_mark if fixed else self._hint.mark_for(context, question)
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
        old = kept_answer(context, question, self._questions)
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
        if question in YOUNG and kept_answer(context, question, self._questions) is NOT_GIVEN:
            forget_default(context, question)
        if question == "starter":
            self._had = kept_answer(context, question, self._questions)
            self._remember_own_files(context)
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
        if value != kept_answer(context, question, self._questions):
            return why
        rest = ", ".join(str(part) for part in parts if not why_not(choices, part))
        rest = "" if rest == ", ".join(map(str, parts)) else rest  # not one, but all together
        given = {} if are_recorded(context) else context["_copier_conf"]["data"]
        words = [f"--data {shlex.quote(f'{k}={v}')}" for k, v in given.items() if k != question]
        update = moves.copier_update(self._asked(context).answers_file)
        # As it was asked for: else this would also bring a newer version of the template.
        ref = context["_copier_conf"]["vcs_ref"]
        now = kept_answer(context, "_commit", self._questions)
        version = [f"--vcs-ref={':current:' if ref == now else ref}"] if ref else []
        command = [update, "--defaults", *version, *words, f'--data "{question}=[{rest}]"']
        return f"{why}, with `{' '.join(command)}`"

    def _extras_error(self, context: Context, value: object) -> str:
        """Why the extra compute platforms cannot all be had, or the empty string."""
        known = self._matrix.compute_platforms
        names = [name for name in map(str, as_list(value) or ()) if name in known]
        kept = self._kept_extras(context)
        return str(why_no_extra(self._matrix, self._asked(context), names, kept) or "")

    def _kept_extras(self, context: Context) -> list[str] | None:
        """The extra compute platforms that a project has already; None for a new one."""
        if not is_project(context):
            return None
        kept = as_list(kept_answer(context, "extra_compute_platforms", self._questions))
        return [str(name) for name in kept or ()]

    @pass_context
    def brings_training(self, context: Context) -> bool:
        """Whether the files of the training are rendered: once, since they are the owner's then."""
        return bool(context["starter"] == "training" != self._had)

    # --- The build, and what an update tells of it

    @pass_context
    def torch_build(self, context: Context) -> Build:
        """The build to render.

        Raises:
            UserMessageError: if the answers do not fit together.
        """
        asked = self._asked(context, extras_too=True)
        if build := kept_build(self._matrix, asked):
            return build
        raise UserMessageError(f"{why_no_build(self._matrix, asked)}.")

    @pass_context
    def copier_update(self, context: Context) -> str:
        """The command that updates the project."""
        return moves.copier_update(self._asked(context).answers_file)

    @pass_context
    def switch_command(self, context: Context) -> str:
        """The command to another compute platform; it asks where no other one is on offer."""
        build = self.torch_build(context)
        return moves.switch(build, alternatives(self._matrix, build.asked))

    @pass_context
    def torch_builds(self, context: Context) -> str:
        """The text of scripts/torch_builds.json."""
        build = self.torch_build(context)
        return torch_builds(
            build,
            same_release(self._matrix, build),
            alternatives(self._matrix, build.asked),
            same_pythons(self._matrix, build),
            older_glibc(self._matrix, build),
            context["pytorch_index_url"],
            self._matrix.policy.cool_down,
        )

    @staticmethod
    @pass_context
    def in_repository(context: Context) -> str:
        """The git repository that the project lies in: its `own`, a `larger` one, or none, ""."""
        project = Path(context["_copier_conf"]["dst_path"]).resolve()
        if (project / ".git").exists():
            return "own"
        return "larger" if any((one / ".git").exists() for one in project.parents) else ""

    @pass_context
    def remember_build(self, context: Context) -> str:
        """Read the build that a project has before it is updated; renders to nothing."""
        project = Path(context["_copier_conf"]["dst_path"])
        self._before, self._moved = notes.read_builds(project), notes.left_behind(project)
        self._had = kept_answer(context, "starter", self._questions)
        self._asked_for = notes.asked_for(project)
        self._remember_own_files(context)
        return ""

    def _remember_own_files(self, context: Context) -> None:
        project = Path(context["_copier_conf"]["dst_path"])
        package = kept_answer(context, "package_name", self._questions)
        package = context.get("package_name") if package is NOT_GIVEN else package
        names = [f"src/{package}/{name}" for name in self._of_training]
        self._own_files = [one for one in names if (project / one).exists()] or self._own_files

    @pass_context
    def update_summary(self, context: Context) -> str | None:
        """What the update changed."""
        return notes.update_summary(self._matrix, self._before, self.torch_build(context))

    @pass_context
    def owner_notes(self, context: Context) -> list[str]:
        """What has ended or is retired, with the way on, and what has moved."""
        build = self.torch_build(context)
        found = notes.notes(self._matrix, build, alternatives(self._matrix, build.asked))
        had, now = self._had, context["starter"]
        more = (
            notes.stays_note(self._before, build),
            notes.moved_note(self._moved),
            notes.gone_note(Path(context["_copier_conf"]["dst_path"]), self._asked_for),
            notes.starter_note(str(had), now, self._own_files) if had != now else None,
        )
        return [*found, *(note for note in more if note)]
