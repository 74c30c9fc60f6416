"""docs/training.md: its examples are valid, and it says what the program and its script do."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from render.projects import ROOT

PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def run(*command: str | Path) -> None:
    """Run a tool of this environment, which must find nothing."""
    tool = Path(sys.executable).with_name(str(command[0]))
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def blocks(language: str) -> list[str]:
    """The examples of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def texts(pattern: str) -> str:
    """Files of the training, one after the other."""
    [folder] = (ROOT / "template").glob(f"*brings_training*{pattern}*")
    return "\n".join(
        path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*")) if path.is_file()
    )


def test_the_commands_have_no_finding_of_a_shell_checker(tmp_path: Path) -> None:
    assert set(re.findall(r"^```(\w+)$", PAGE, re.MULTILINE)) == {"sh", "yaml"}
    for text in blocks("sh"):
        file = tmp_path / "commands.sh"
        file.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        run("shellcheck", file)


def test_kubernetes_understands_the_examples(tmp_path: Path) -> None:
    for number, text in enumerate(blocks("yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text, encoding="utf-8")
        run("kubernetes-validate", "--strict", file)
    service, job = map(yaml.safe_load, blocks("yaml"))
    pod = job["spec"]["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    [container] = pod["containers"]
    names = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    command = container["command"]
    assert f"--nnodes={job['spec']['completions']}" in command
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc-per-node={gpus}" in command
    assert f"--rdzv-endpoint={job['metadata']['name']}-0.{pod['subdomain']}:29500" in command


def test_what_it_names_is_there() -> None:
    program, script = texts("src"), texts("scripts")
    for name in ("TRAIN_TIMEOUT_MINUTES", '"again"', '"done"', "AGAIN = 75", "else 1", "130 if"):
        assert name in program
    for name in ("TERM@120", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "--ntasks-per-node=1"):
        assert name in script


def test_every_link_has_its_address() -> None:
    used = set(re.findall(r"\]\[([\w-]+)\]", PAGE))
    given = dict(re.findall(r"^\[([\w-]+)\]: (https://\S+)$", PAGE, re.MULTILINE))
    assert used == set(given)
    assert "(docs/training.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
