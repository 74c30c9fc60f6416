"""What an update tells the owner: what it changed, what has ended or is retired, and the way on.

The project's data file is read before the update, since Copier forgets what the answers were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from .build import Build
from .matrix.facts import python_key, series
from .matrix.model import Matrix
from .moves import (
    Platforms,
    copier_update,
    first_without,
    generations,
    listed,
    move,
    nearest,
    packages_of_both,
    platforms_of,
    successors,
    what_changes,
)
from .reasons import why_no_companion
from .resolving import find_build, kept_build

EXTRAS = "extra_compute_platforms"
DATA_FILE = "scripts/torch_builds.json"
# What comes and goes with `container`, `extra_files`, `ci` and `ci_runners`.
BY_ANSWER = (
    *("Dockerfile", ".dockerignore", "compose.yaml", ".devcontainer/devcontainer.json"),
    *("containers/apptainer.def", "containers/install.sh", "containers/kubernetes.yaml"),
    *("AGENTS.md", ".pre-commit-config.yaml", ".github/dependabot.yml", "renovate.json"),
    *(".vscode/extensions.json", ".vscode/settings.json", ".vscode/tasks.json"),
    *(".github/workflows/ci.yml", ".github/workflows/gpu.yml", ".github/actionlint.yaml"),
    *(".github/workflows/template-update.yml", ".gitlab-ci.yml"),
)
OLD_MACHINERY = ("bootstrap.py", "bootstrapping", "gpu_smoke", "template_update.py")


def other_way(matrix: Matrix, old: Build, found: list[Build]) -> tuple[Build, list[str]] | None:
    """The best other successor for the GPUs that the first one loses, and those that it keeps."""
    names = matrix.gpu_generations.names
    first, *rest = found
    in_first = generations(names, platforms_of(first))
    lost = [n for n in generations(names, platforms_of(old)) if n not in in_first]
    kept = [[n for n in generations(names, platforms_of(b)) if n in lost] for b in rest]
    best = max(range(len(rest)), key=lambda n: len(kept[n]), default=None)
    return (rest[best], kept[best]) if best is not None and kept[best] else None


def ended_note(matrix: Matrix, old: Build, others: Iterable[Build]) -> str | None:
    """What to tell a project that wants the latest torch of a platform that gets no newer one."""
    name = old.asked.compute_platform
    without = first_without(matrix, name)
    if without is None or old.asked.torch != "latest":
        return None
    day = matrix.releases[without].released
    since = f"torch {without}" + (f" of {day:%Y-%m-%d}" if day else "")
    note = f"{name} has ended: {since} and newer do not have it, so torch stays at {old.torch}."
    found = successors(matrix, old, others)
    if not found:
        return f"{note} No newer torch fits Python {old.asked.python} and {old.asked.manager} here."
    note = f"{note} {move(matrix, old, found[0])}"
    other = other_way(matrix, old, found)
    if other is None:
        return note
    new, kept = other
    return f"{note}\n\n{move(matrix, old, new, f'To keep {listed(kept)}, instead:')}"


def companion_note(matrix: Matrix, old: Build) -> str | None:
    """What to tell a project whose torch stays behind for a companion that newer ones lack."""
    new = find_build(matrix, old.asked)
    if new is None or new.torch == old.torch:
        return None
    found = (why_no_companion(matrix, old.asked, name) for name in old.asked.packages)
    why = "; ".join(unfit.reason for unfit in found if unfit)
    return f"{why}, so torch stays at {old.torch}. {move(matrix, old, new)}"


def extra_note(matrix: Matrix, old: Build) -> str | None:
    """What to tell a project whose torch stays behind for other builds that it keeps."""
    asked = old.asked
    alone = kept_build(matrix, replace(asked, extras=()))
    if alone is None or alone.torch == old.torch:
        return None
    others = {name: kept_build(matrix, replace(asked, extras=(name,))) for name in asked.extras}
    behind = [name for name, build in others.items() if not build or build.torch != alone.torch]
    rest = ", ".join(name for name in asked.extras if name not in behind)
    verb, them = ("have", "them") if behind[1:] else ("has", "it")
    command = copier_update(asked.answers_file)
    return (
        f"{listed(behind)} {verb} no torch {alone.torch}, so torch stays at {old.torch} for {them}."
        f' To go on without {them}:\n\n    {command} --defaults --data "{EXTRAS}=[{rest}]"'
    )


def freed_note(matrix: Matrix, old: Build) -> str | None:
    """What to tell a project on the series that a companion was built for, which needs it no more.

    That was the way out for a companion without a release of its own for newer torch.
    """
    new = kept_build(matrix, replace(old.asked, torch="latest"))
    if new is None or old.asked.torch == "latest" or Version(new.torch) <= Version(old.torch):
        return None
    freed = [
        name
        for name in old.asked.packages
        if name in old.versions
        and new.versions.get(name) == old.versions[name]
        and series(old.versions[name]) == series(old.torch)
    ]
    if not freed:
        return None
    said = listed([f"{name} {old.versions[name]}" for name in freed])
    return (
        f"{said} {'work' if freed[1:] else 'works'} with newer torch too, so torch need not stay at"
        f" {old.asked.torch} for it. {move(matrix, old, new)}"
    )


def stays_note(before: tuple[str, Platforms] | None, new: Build) -> str | None:
    """What to tell where torch has left the release that a companion was built for behind."""
    old, now = packages_of_both(before[1], platforms_of(new)) if before else ({}, {})
    if not old:
        return None
    stay = [
        f"{name} {new.versions[name]}"
        for name in new.versions
        if old.get(name) == now[name]
        and series(new.versions[name]) == series(old["torch"].partition("+")[0])
    ]
    if not stay or old["torch"] == now["torch"]:
        return None
    return f"{listed(stay)} {'stay' if stay[1:] else 'stays'}: for torch {new.torch} as well."


def retired_note(matrix: Matrix, old: Build, others: Iterable[Build]) -> str | None:
    """What to tell a project whose compute platform the policy has retired."""
    name = old.asked.compute_platform
    successor = matrix.policy.compute_platforms.retired.get(name)
    if successor is None:
        return None
    note = f"compute_platform {name} is retired here."
    new = next((build for build in others if build.asked.compute_platform == successor), None)
    if new is None:
        return (
            f"{note} Its successor is {successor}, which does not fit"
            f" Python {old.asked.python} and {old.asked.manager}."
        )
    return f"{note} {move(matrix, old, new)}"


def python_note(matrix: Matrix, old: Build) -> str | None:
    """What to tell a project whose Python the policy has retired, or gets no security fixes."""
    python, offered = old.asked.python, matrix.policy.python.listed(None)
    successor, note = matrix.policy.python.retired.get(python), None
    if successor:
        note = f"python_version {python} is retired here."
    elif matrix.has_ended(python):
        note = f"Python {python} gets no security fixes since {matrix.pythons[python].ends:%B %Y}."
        newer = [one for one in offered if python_key(one) > python_key(python)]
        successor = next((one for one in newer if not matrix.has_ended(one)), None)
    if successor is None:
        return note
    new = nearest(matrix, replace(old.asked, python=successor))
    if new is None:
        return f"{note} Its successor is {successor}, which nothing on offer here has wheels for."
    return f"{note} {move(matrix, old, new)}"


def notes(matrix: Matrix, build: Build, others: list[Build]) -> list[str]:
    """All that the owner of a project should hear about its answers."""
    extra = extra_note(matrix, build)
    companion = extra or companion_note(matrix, build) or freed_note(matrix, build)
    ended = None if companion else ended_note(matrix, build, others)  # first things first
    platform = retired_note(matrix, build, others) or ended
    return [note for note in (platform, companion, python_note(matrix, build)) if note]


def read_builds(project: Path) -> tuple[str, Platforms] | None:
    """The compute platform of a project and what its data file says; None if it cannot be read."""
    try:
        data = json.loads((project / DATA_FILE).read_text(encoding="utf-8"))
        name = data["compute_platform"]
        build = data["builds"][name]
        keys = ("packages", "minimum_driver", "gpu_architectures")
        same = {key: build[key] for key in keys if key in build}  # schema 1 has them in each row
        rows = {key: {**same, **row} for key, row in build["platforms"].items()}
        platforms = {
            str(platform): {
                "packages": dict(row["packages"]),
                "minimum_driver": row.get("minimum_driver"),
                "gpu_architectures": list(row.get("gpu_architectures", ())),
            }
            for platform, row in {**rows, **data.get("in_every_build", {})}.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return name, platforms


def left_behind(project: Path) -> list[str]:
    """What of a project's machinery lies where it was before it had a folder of its own."""
    scripts = project / "scripts"
    if (scripts / "torch_starter" / "bootstrapping").exists():
        return []
    return [name for name in OLD_MACHINERY if (scripts / name).exists()]


def asked_for(project: Path) -> list[str]:
    """The files of a project that an answer brought, or that have the name of one."""
    return [name for name in BY_ANSWER if (project / name).exists()]


def gone_note(project: Path, before: Iterable[str]) -> str | None:
    """What an owner should know whose answer brings a file no more: Copier deletes it."""
    gone = [name for name in before if not (project / name).exists()]
    if not gone:
        return None
    them = "them" if gone[1:] else "it"
    return (
        f"{listed(gone)}: removed, since the answers ask for {them} no more."
        f" To keep what you had there: `git checkout HEAD -- {' '.join(gone)}`"
    )


def moved_note(before: Iterable[str]) -> str | None:
    """What an owner who had changed the machinery should know: Copier deletes what has moved."""
    if not before:
        return None
    return (
        f"scripts/torch_starter has what was in {listed([f'scripts/{name}' for name in before])}."
        " If you had changed something there, it did not move along: `git diff HEAD -- scripts`"
        " shows it."
    )


def training_files(template: Path) -> list[str]:
    """The names of the modules that train."""
    return sorted(path.name for path in template.glob("template/*training*src*/*/*.py"))


def starter_note(had: str, now: str, own_files: list[str]) -> str | None:
    """What an owner should know who changes `starter`: no file of theirs is touched."""
    if not own_files:
        return None
    if now == "training":
        return (
            f"{listed(own_files)}: here before, and left as it was, so that the program that trains"
            " does not work. Take this back with git, rename yours, and answer `starter` again."
        )
    if had != "training":
        return None
    return (
        f"{listed(own_files[:2])} and what else trains is yours and stays, but pyproject.toml has"
        " no more what it imports: delete it, or add matplotlib, scikit-learn, tensorboard and"
        " tyro."
    )


def update_summary(matrix: Matrix, before: tuple[str, Platforms] | None, new: Build) -> str | None:
    """What an update changed in the build of a project; None if nothing, or if not known."""
    if before is None:
        return None
    name = new.asked.compute_platform
    changes = what_changes(matrix.gpu_generations.names, before[1], platforms_of(new), name)
    if before[0] != name:
        return "; ".join(filter(None, [f"compute platform {before[0]} -> {name}", changes])) + "."
    return f"{changes}." if changes else None
