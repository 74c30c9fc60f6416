"""docs/places.md: its examples are valid, and it says what the smoke test says of a place."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
import yaml

from render.projects import ROOT
from render.reading import block

PAGE = (ROOT / "docs" / "places.md").read_text(encoding="utf-8")
# The sections for a place, by what a row of causes/ calls it.
SECTIONS = {
    "docker": ["Docker"],
    "podman": ["Podman"],
    "containerd": ["containerd"],
    "kubernetes": ["Kubernetes"],
    "apptainer": ["Apptainer"],
    "enroot": ["Enroot and Pyxis"],
    "lxc": ["LXC and systemd-nspawn"],
    "nspawn": ["LXC and systemd-nspawn"],
    "wsl": ["WSL"],
    "wsl1": ["WSL"],
    "jetson": ["Jetson"],
    "slurm": ["Slurm"],
    "job": ["Slurm"],
    "pbs": ["PBS, LSF and others"],
    "lsf": ["PBS, LSF and others"],
    "flux": ["PBS, LSF and others"],
    "sge": ["PBS, LSF and others"],
    "htcondor": ["PBS, LSF and others"],
    "ci": ["CI runners"],
}
SECTIONS["container"] = ["Docker", "Podman", "Apptainer", "Kubernetes"]


def section(title: str) -> str:
    """The text under a title of the page."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def run(*command: str | Path) -> None:
    """Run a tool of this environment, which must find nothing."""
    tool = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def saved(folder: Path, title: str, language: str, name: str) -> Path:
    """An example of the page, as a file."""
    folder.joinpath(name).write_text(block(PAGE, title, language), encoding="utf-8")
    return folder / name


def test_every_block_is_of_a_kind_that_is_checked_here() -> None:
    kinds = re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)
    assert set(kinds) == {"sh", "yaml", "json", "toml", "powershell"}
    assert (kinds.count("yaml"), kinds.count("json"), kinds.count("toml")) == (3, 1, 1)


def test_compose_understands_its_example(tmp_path: Path) -> None:
    file = saved(tmp_path, "Docker", "yaml", "compose.yaml")
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("capabilities", "capability"), encoding="utf-8")
    with pytest.raises(AssertionError, match="capability"):  # it does look
        run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)


def test_kubernetes_understands_its_example(tmp_path: Path) -> None:
    file = saved(tmp_path, "Kubernetes", "yaml", "pod.yaml")
    run("kubernetes-validate", "--strict", file)
    [volume] = (pod := yaml.safe_load(file.read_text("utf-8"))["spec"])["volumes"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": volume["name"], "mountPath": "/dev/shm"}
    ]


def test_github_understands_its_example(tmp_path: Path) -> None:
    file = saved(tmp_path, "CI runners", "yaml", "gpu.yml")
    run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", file)


def test_the_other_examples_can_be_read() -> None:
    assert json.loads(block(PAGE, "Dev containers", "json"))["runArgs"] == ["--shm-size=8g"]
    [runner] = tomlkit.parse(block(PAGE, "CI runners", "toml")).unwrap()["runners"]
    assert runner["docker"]["shm_size"] == 8 * 2**30


def test_the_commands_have_no_finding_of_a_shell_checker(tmp_path: Path) -> None:
    found = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len(found) >= 9
    for number, text in enumerate(found):
        file = tmp_path / f"{number}.sh"
        file.write_text(f"#!/bin/sh\n{text.removeprefix('#!/bin/sh')}", encoding="utf-8")
        run("shellcheck", file)


def rows() -> list[tuple[str, str, str]]:
    """What causes/ says to do in a place that has a section: the cause, the place, the text."""
    table = importlib.import_module("surroundings.knowledge").table("causes")
    found = []
    for cause in table.sections():
        for name, text in table[cause].items():
            kind, _, place = name.partition(".")
            names = [one for one in place.split("+") if one in SECTIONS]
            if kind == "do" and names:
                found.append((cause, "+".join(names), text))
    return found


def test_the_page_has_each_option_and_variable_that_the_smoke_test_names() -> None:
    every = rows()
    assert len(every) >= 8
    missing = []
    for cause, place, text in every:
        there = "\n".join(section(title) for name in place.split("+") for title in SECTIONS[name])
        commands = " ".join(re.findall("`([^`]*)`", text))
        words = {*re.findall(r"(?<!\S)--[a-z][\w-]+", commands), *re.findall(r"NVIDIA_\w+", text)}
        missing += [(cause, place, word) for word in words if word not in there]
    assert missing == []


def test_the_page_has_every_kind_of_place_that_the_scripts_know() -> None:
    signs = importlib.import_module("surroundings.place").SIGNS
    named = set(re.findall("`([^`]+)`", section("How a place is told").partition("\n[")[0]))
    assert {part for kind in signs for part in kind.split(".")} - named == set()


def test_every_link_of_the_page_has_its_address() -> None:
    used = set(re.findall(r"\]\[([\w-]+)\]", PAGE))
    given = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", PAGE, re.MULTILINE))
    assert used == set(given)
    assert len(set(given.values())) == len(given) > 40
    assert all(f"\n## {title}\n" in PAGE for titles in SECTIONS.values() for title in titles)
    assert "(docs/places.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
