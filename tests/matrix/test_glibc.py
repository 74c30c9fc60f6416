"""The glibc that wheels need: what their names say, and the torch for systems with an older one."""

from __future__ import annotations

import pytest

from torch_template.build import Asked
from torch_template.matrix.facts import glibc_of
from torch_template.matrix.loading import load_matrix
from torch_template.resolving import find_build, older_glibc

MATRIX = load_matrix()


@pytest.mark.parametrize(
    ("torch", "build", "platform", "needs"),
    [
        ("2.15.0", "cpu", "L", "2.28"),
        ("2.7.0", "cu128", "A", "2.28"),
        ("2.6.0", "cpu", "L", None),
        ("2.6.0", "cu126", "L", "2.28"),
        ("2.6.0", "cu124", "L", None),
        ("2.6.0", "cpu", "A", "2.28"),
        ("2.5.1", "cpu", "A", None),
        ("2.14.1", "cpu", "W", None),
        ("2.14.1", "cpu", "M", None),
    ],
)
def test_each_wheel_has_the_glibc_of_its_name(
    torch: str, build: str, platform: str, needs: str | None
) -> None:
    assert glibc_of(MATRIX, torch, build, platform) == needs


@pytest.mark.parametrize(
    ("manager", "python", "platform", "packages", "older"),
    [
        ("uv", "3.12", "cpu", (), {"linux-x86_64": "2.6", "linux-aarch64": "2.5"}),
        ("uv", "3.12", "cpu", ("torchvision",), {"linux-x86_64": "2.6", "linux-aarch64": "2.5"}),
        ("pip", "3.12", "cu126", (), {}),  # which 2.6 has for a newer glibc alone
        ("uv", "3.12", "cu130", (), {}),  # which no torch before had
        ("uv", "3.14", "cpu", (), {}),
    ],
)
def test_a_project_knows_the_torch_for_an_older_glibc(
    manager: str, python: str, platform: str, packages: tuple[str, ...], older: dict[str, str]
) -> None:
    build = find_build(MATRIX, Asked(manager, python, platform, packages=packages))
    assert build
    assert {name: row.glibc for name, row in build.wheels.items() if row.glibc}
    assert older_glibc(MATRIX, build) == older
