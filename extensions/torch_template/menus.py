"""What the menus of copier.yml show: each choice, and of one that does not fit the reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from packaging.version import Version

from .build import Asked, Build, Wheels
from .managers import MANAGERS
from .managers.lines import TRAINING_SINCE
from .matrix.facts import COMPANIONS, PYPI, all_series, has_ended
from .matrix.model import Matrix
from .reasons import Unfit, resolve, why_no_companion, why_no_extra
from .resolving import kept_build


@dataclass(frozen=True)
class Choice:
    """One line of a menu; `why_not` shows it disabled, with the reason and the way out."""

    label: str
    value: str
    why_not: str = ""


def generations(matrix: Matrix, wheels: Wheels) -> str | None:
    """`Turing to Blackwell`: the GPU generations that a platform's binaries are built for."""
    names = matrix.gpu_generations.names
    found = [names[capability] for capability in wheels.gpu_architectures if capability in names]
    if not found:
        return None
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def label(matrix: Matrix, build: Build, mark: str = "") -> str:
    """What a person needs to choose a compute platform, in one line.

    Terminals cut it off where they end, so a mark is behind the name.
    """
    main = build.main
    if build.asked.compute_platform == PYPI:
        linux = f"CUDA {main.toolkit}" if main.accelerator == "cuda" else "CPU"
        facts = [f"no other index: {linux} on Linux, CPU on Windows, Metal on macOS"]
    elif main.accelerator == "cuda":
        facts = [f"driver {(main.minimum_driver or '').partition('.')[0]}+"]
        facts += [names] if (names := generations(matrix, main)) else []
    else:
        kinds = {"cpu": "any machine, no GPU", "rocm": "AMD GPUs", "xpu": "Intel GPUs"}
        facts = [kinds[main.accelerator]]
    facts.append(f"torch {build.torch}")
    if not {"L", "W"} <= {*build.platforms}:
        facts.append("Linux only" if "L" in build.platforms else "Windows only")
    name = f"{build.name} {mark}".rstrip()
    return f"{name} - {', '.join(facts)}"


def python_choices(matrix: Matrix, current: str | None = None) -> list[Choice]:
    """The Python minors to choose from."""
    return [
        Choice(f"Python {minor}{_ended(matrix, minor)}", minor)
        for minor in matrix.policy.python.listed(current)
    ]


def _ended(matrix: Matrix, python: str) -> str:
    if not matrix.has_ended(python):
        return ""
    return f" - no security fixes since {matrix.pythons[python].ends:%B %Y}"


def compute_platform_choices(
    matrix: Matrix,
    asked: Asked,
    current: str | None = None,
    mark: Callable[[Build], str] = lambda _: "",
) -> list[Choice]:
    """Every compute platform on offer; what does not fit carries the reason and the way out.

    `mark`: what to put behind the name of a build.
    """
    choices = []
    for name in matrix.policy.compute_platforms.listed(current):
        found = resolve(matrix, replace(asked, compute_platform=name, torch="latest"))
        if isinstance(found, Unfit):
            choices.append(Choice(matrix.compute_platforms[name].name, name, str(found)))
        else:
            choices.append(Choice(label(matrix, found, mark(found)), name))
    return choices


def torch_version_choices(matrix: Matrix, asked: Asked) -> list[Choice]:
    """`latest`, then every series."""
    newest = resolve(matrix, replace(asked, torch="latest"))
    if isinstance(newest, Unfit):
        choices = [Choice("latest", "latest", str(newest))]
    elif has_ended(matrix, asked.compute_platform):
        last = f"latest - torch {newest.torch}, the last one for {asked.compute_platform}"
        choices = [Choice(last, "latest")]
    else:
        now = f"latest - torch {newest.torch} now, and newer with each update"
        choices = [Choice(now, "latest")]
    for name in all_series(matrix):
        found = resolve(matrix, replace(asked, torch=name))
        if isinstance(found, Unfit):
            choices.append(Choice(name, name, str(found)))
        else:
            choices.append(Choice(f"{name} - torch {found.torch}, and its patches only", name))
    return choices


def torch_package_choices(
    matrix: Matrix, asked: Asked, current: Sequence[str] = ()
) -> list[Choice]:
    """The companions of torch; of one that the build cannot have, the reason and the way out.

    `current`: what a project has already, and keeps where an older torch has it.
    """
    build = resolve(matrix, replace(asked, packages=COMPANIONS))
    versions = build.versions if isinstance(build, Build) else {}
    kept = kept_build(matrix, replace(asked, packages=tuple(current))) if current else None
    choices = []
    for name in COMPANIONS:
        if name in versions:
            choices.append(Choice(f"{name} {versions[name]}{_nowhere(matrix, asked, name)}", name))
        elif kept and name in current and name in kept.versions:
            stays = f"{name} {kept.versions[name]} - torch stays at {kept.torch} for it"
            choices.append(Choice(stays, name))
        else:
            why = str(why_no_companion(matrix, asked, name) or "")
            choices.append(Choice(name, name, why))
    return choices


def _nowhere(matrix: Matrix, asked: Asked, companion: str) -> str:
    """Where the project cannot be used any more if it has a companion, behind its name."""
    torch, both = (resolve(matrix, replace(asked, packages=p)) for p in ((), (companion,)))
    if isinstance(torch, Unfit) or isinstance(both, Unfit):
        return ""
    lost = [platform for platform in torch.wheels if platform not in both.wheels]
    return f" - not on {', '.join(lost)}" if lost else ""


def has_training(torch: str) -> bool:
    """Whether a version of torch has what the program that trains is built on."""
    return Version(torch) >= Version(TRAINING_SINCE)


def starter_choices(matrix: Matrix, asked: Asked, current: str | None = None) -> list[Choice]:
    """What a project begins with; a loop needs a torch that has what it is built on."""
    build = kept_build(matrix, asked)
    found = {"package": Choice("package - a package with the choice of the device", "package")}
    why = ""
    if build and not has_training(build.torch):
        why = (
            f"it needs torch {TRAINING_SINCE} or newer, and this is {build.torch}: choose"
            " starter=package, or another torch_version"
        )
    label = "training - a program that trains, on one CPU, one GPU or many machines"
    found["training"] = Choice(label, "training", why)
    return [found[name] for name in matrix.policy.starter.listed(current)]


def extra_platform_choices(
    matrix: Matrix, asked: Asked, kept: Sequence[str] | None = None
) -> list[Choice]:
    """Other builds of the project's release; of one that does not share it, why, and the way out.

    The project's own, which such a list may name as well, adds nothing. `kept`: those that it has
    already, None for a new project.
    """
    own, names = asked.compute_platform, [*matrix.policy.on_machines, *(kept or ())]
    choices, alone = [], kept_build(matrix, asked)
    for name in dict.fromkeys(name for name in names if name in matrix.compute_platforms):
        known = matrix.compute_platforms[name]
        if known.blocked:
            continue
        why = "" if name == own else str(why_no_extra(matrix, asked, (name,), kept) or "")
        shared = kept_build(matrix, replace(asked, extras=(name,)))
        label = f"{known.name} - the project's own" if name == own else known.name
        if shared and alone and shared.torch != alone.torch:
            label += f" - with it, torch {shared.torch} for all"
        choices.append(Choice(label, name, why))
    return choices


def extra_file_choices(ci: str) -> list[Choice]:
    """Files for other tools; GitLab has no Dependabot."""
    why = "GitLab has none: leave it out, renovate.json is for Renovate" if ci == "gitlab" else ""
    found = fixed_choices("extra_files")
    return [Choice(c.label, c.value, why) if c.value == "dependabot" else c for c in found]


FIXED_MENUS = {
    "package_manager": {name: manager.label for name, manager in MANAGERS.items()},
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
    "ci_runners": {
        "windows": "windows - the service's own runners",
        "macos": "macos - the service's own runners",
        "gpu": "gpu - a runner of yours, for the smoke test",
    },
    "extra_files": {
        "agents": "agents - AGENTS.md, for coding agents",
        "pre-commit": "pre-commit - checks before each commit",
        "vscode": "vscode - settings and tasks of VS Code",
        "dependabot": "dependabot - in the place of Renovate",
    },
}


# Questions whose answer is a list, and how one writes it.
LISTS = {
    "torch_packages": "torch_packages=[torchvision], or [] for torch alone",
    "extra_compute_platforms": "extra_compute_platforms=[cpu], or [] for none",
    "ci_runners": "ci_runners=[windows, macos], or [] for none",
    "extra_files": "extra_files=[agents, vscode], or [] for none",
}
# Those that older projects were not asked: they stay as they are.
YOUNG = ("starter", "extra_compute_platforms", "ci_runners", "container", "extra_files")
USUAL_FILES = ["agents", "pre-commit", "vscode"]


def fixed_choices(question: str) -> list[Choice]:
    """The choices of a question whose choices do not depend on other answers."""
    return [Choice(label, value) for value, label in FIXED_MENUS[question].items()]


def why_not(choices: list[Choice], value: object) -> str | None:
    """The sentence that refuses a value given for a question; None if the value is a choice."""
    for choice in choices:
        if choice.value == value:
            return choice.why_not or None
    values = ", ".join(choice.value for choice in choices if not choice.why_not)
    return f"{value!r} is not on offer: choose {values or 'nothing'}"
