"""What copier.yml and the templates call: the one place where the package meets Jinja."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from copier.errors import UserMessageError
from jinja2 import Environment, pass_context
from jinja2.runtime import Context

from . import moves, notes
from .answers import (
    default_package_name,
    normalized,
    to_markdown,
    to_toml,
)
from .build import Build
from .given import (
    NOT_GIVEN,
)
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
from .matrix.loading import load_matrix
from .questions import Questions
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


def shell_word(path: object) -> str:
    """A path as one types it here."""
    return f'"{path}"' if os.name == "nt" else shlex.quote(str(path))


class TemplateGlobals:
    """The globals and filters of one Jinja environment, which read the answers given so far."""

    def __init__(self, template: Path) -> None:
        self._matrix = load_matrix()
        self._questions = Questions(self._matrix, template / "copier.yml")
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
            answer_error=self._questions.answer_error,
            check_answer=self.check_answer,
            choices_of=self._questions.choices_of,
            default_of=self._questions.default_of,
            machine_hint=self._questions.hint.hint,
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

    @pass_context
    def check_answer(self, context: Context, question: str) -> bool:
        """Stop with one sentence if a given answer cannot be used; else true, for `ask`.

        Raises:
            UserMessageError: what is wrong and what to do.
        """
        if question == "starter":
            self._had = self._questions.kept(context, question)
            self._remember_own_files(context)
        return self._questions.check_answer(context, question)

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
        asked = self._questions.asked(context, extras_too=True)
        if build := kept_build(self._matrix, asked):
            return build
        alone = self._questions.asked(context)
        if why := why_no_extra(self._matrix, alone, asked.extras):
            raise UserMessageError(f"extra_compute_platforms: {why}.")
        raise UserMessageError(f"{why_no_build(self._matrix, asked)}.")

    @pass_context
    def copier_update(self, context: Context) -> str:
        """The command that updates the project."""
        return moves.copier_update(self._questions.asked(context).answers_file)

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
        self._had = self._questions.kept(context, "starter")
        self._asked_for = notes.asked_for(project)
        self._remember_own_files(context)
        return ""

    def _remember_own_files(self, context: Context) -> None:
        project = Path(context["_copier_conf"]["dst_path"])
        package = self._questions.kept(context, "package_name")
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
