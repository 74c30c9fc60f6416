"""Templates of two versions, and projects made from the first: for benchmarks of updates."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import yaml
from packaging.version import InvalidVersion, Version

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

from snapshot import commit_all, git, snapshot

MATRIX = "extensions/torch_template/matrix/version_matrix.yml"
OLD, NEW = "1.0.0", "2.0.0"
PEER = "https://github.com/pawamoy/copier-uv"
PEER_DATA = ["project_name=demo", "project_description=demo"]


def next_version(folder: Path) -> None:
    """Commit and tag what changed in a template, packed as a clone from a server is."""
    git("commit", "--quiet", "--all", "--message", NEW, cwd=folder)
    git("tag", NEW, cwd=folder)
    git("gc", "--quiet", cwd=folder)


def bare_template(folder: Path) -> Path:
    """The least that is a template: one question, one rendered file. Not committed."""
    (folder / "template").mkdir(parents=True)
    (folder / "copier.yml").write_text(
        "project_name: {type: str, default: my-project}\n_subdirectory: template\n",
        encoding="utf-8",
    )
    readme = folder / "template" / "README.md.jinja"
    readme.write_text("# {{ project_name }}\n", encoding="utf-8")
    return folder


def bare_versions(
    folder: Path, more_files: Collection[int] = (), beside: Collection[int] = ()
) -> Path:
    """The bare template with an answers file, without which there is no update.

    `more_files`: the bytes of plain files that it has as well; `beside`: those of files that only
    its repository has, as tests are.
    """
    readme = bare_template(folder) / "template" / "README.md.jinja"
    answers = folder / "template" / "{{ _copier_conf.answers_file }}.jinja"
    answers.write_text("{{ _copier_answers | to_nice_yaml }}", encoding="utf-8")
    (folder / "tests").mkdir()
    for place, sizes in {"template": more_files, "tests": beside}.items():
        for number, size in enumerate(sizes):
            text = f"{number}\n".ljust(size, "x")
            (folder / place / f"{number}.txt").write_text(text, encoding="utf-8")
    commit_all(folder, OLD)
    readme.write_text("# {{ project_name }}\n\nNew.\n", encoding="utf-8")
    next_version(folder)
    return folder


def our_versions(folder: Path) -> Path:
    """This template: without its two newest series of torch, then with them."""
    snapshot(folder, "0.0.1")
    path = folder / MATRIX
    now = path.read_bytes()
    facts = yaml.safe_load(now)
    *_, third, _, _ = dict.fromkeys(name.rpartition(".")[0] for name in facts["releases"])
    kept = list(facts["releases"])
    last = max(n for n, name in enumerate(kept) if name.startswith(f"{third}."))
    facts["releases"] = {name: facts["releases"][name] for name in kept[: last + 1]}
    path.write_text(yaml.safe_dump(facts, sort_keys=False), encoding="utf-8")
    git("commit", "--quiet", "--all", "--message", OLD, cwd=folder)
    git("tag", OLD, cwd=folder)
    path.write_bytes(now)
    next_version(folder)
    return folder


def parse_options(doc: str, runs: int) -> argparse.Namespace:
    """How often to measure, and another template to measure in the same run."""
    options = argparse.ArgumentParser(description=doc.partition("\n")[0])
    options.add_argument("--runs", type=int, default=runs)
    options.add_argument(
        "--peer",
        metavar="REPOSITORY",
        default=PEER,
        help="another template to measure, whose code is run (default: %(default)s)",
    )
    options.add_argument(
        "--peer-data",
        metavar="NAME=VALUE",
        action="append",
        help=f"an answer it needs (default: {', '.join(PEER_DATA)})",
    )
    return options.parse_args()


def peer(options: argparse.Namespace, folder: Path) -> Path | None:
    """A clone of the other template, packed as one of ours is; None where it cannot be reached."""
    try:
        git("clone", "--quiet", options.peer, str(folder), cwd=folder.parent)
    except subprocess.CalledProcessError:
        print(f"{options.peer} cannot be reached and is left out: name a clone of it with --peer")
        return None
    git("gc", "--quiet", cwd=folder)
    if options.peer_data is None:
        options.peer_data = PEER_DATA
    return folder


def ahead_of_peer(medians: Mapping[str, float]) -> bool:
    """Whether this template is the faster one, which is said; true without the other one."""
    if "peer" not in medians:
        return True
    ratio = medians["torch-starter"] / medians["peer"]
    print(f"torch-starter takes {ratio:.2f} times the peer's time (aim: less than 1)")
    return ratio < 1


def started(
    template: Path, project: Path, tag: str | None = OLD, answers: Collection[str] = ()
) -> Path:
    """A committed project of a template's old version; `tag`: None is the one before the newest."""
    if tag is None:
        tags = [name for name in git("tag", cwd=template).split() if is_version(name)]
        *_, tag, _ = sorted(tags, key=Version)
    command = [sys.executable, "-m", "copier", "copy", "--trust", "--defaults", "--quiet"]
    data = data_options(answers)
    subprocess.run([*command, *data, "--vcs-ref", tag, str(template), str(project)], check=True)
    commit_all(project, "made")
    return project


def data_options(answers: Collection[str]) -> list[str]:
    """Copier's options for answers such as `name=value`."""
    return [word for answer in answers for word in ("--data", answer)]


def is_version(tag: str) -> bool:
    """Whether Copier sees a release in a tag."""
    try:
        return not Version(tag).is_prerelease
    except InvalidVersion:
        return False
