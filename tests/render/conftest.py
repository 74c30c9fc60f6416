"""Machines with an NVIDIA driver, for the tests of the menu of compute platforms."""

from __future__ import annotations

from pathlib import Path

import pytest

from render.fake_machines import TWO_3090, fake_nvml, wsl


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that the FAKE_ variables of fake_nvml.c command."""
    return fake_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def detection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the other tests have off."""
    monkeypatch.delenv("TORCH_STARTER_DETECT")


@pytest.fixture
def in_wsl(tmp_path: Path, nvml: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine with two GPUs, whose NVML leaves `trace` when it is asked."""
    monkeypatch.setenv("FAKE_GPUS", TWO_3090)
    monkeypatch.setenv("FAKE_TRACE", str(tmp_path / "trace"))
    return wsl(tmp_path / "root", nvml)
