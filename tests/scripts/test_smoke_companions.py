"""Torch's companions: what is asked of them where they are asked for, and what they are lacking."""

from __future__ import annotations

import importlib
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from scripts.injections import ON_CPU, codec_for, companion
from scripts.smoke_helpers import Project, load_package, place_of

# --- What was built for what, by versions


@pytest.mark.parametrize(
    ("name", "version", "torch", "fits"),
    [
        ("torchaudio", "2.11.0+cu130", {"cuda": "13.0"}, True),
        ("torchaudio", "2.11.0+cu130", {"cuda": "13.2"}, False),
        ("torchaudio", "2.11.1+cu130", {"cuda": "13.2"}, True),  # compares the major version alone
        ("torchaudio", "2.11.0+cu130", {"cuda": "12.6"}, False),
        ("torchvision", "0.29.1+cu130", {"cuda": "13.2"}, True),
        ("torchvision", "0.29.1+cu130", {"cuda": "12.8"}, False),
        ("torchcodec", "0.17.0+cu130", {}, False),  # as PyPI's for Linux
        ("torchcodec", "0.13.0+cpu", {"cuda": "13.0"}, True),
        ("torchcodec", "0.17.0", {}, True),  # as PyPI's for macOS
        ("torchvision", "0.29.1+rocm7.2", {"hip": "7.2.53211"}, True),
        ("torchvision", "0.29.1+rocm7.2", {"cuda": "13.0"}, False),
        ("torchvision", "0.29.1+xpu", {"xpu": "20250301"}, True),
        ("torchvision", "0.29.1+cu130", {"hip": "7.2.53211"}, False),
    ],
)
def test_a_companion_goes_with_a_torch_that_was_built_for_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str, version: str, torch: dict[str, str], fits: bool
) -> None:
    checks = load_package("package_checks")
    monkeypatch.setattr(checks, "version_file", lambda package: {"__version__": version})
    why = checks.misfit(name, {"__version__": "2.14.1", **torch})
    assert (why == "") == fits
    assert fits or why.startswith(f"{name} {version} is built for ")


def test_ranges_of_versions_are_understood_as_packaging_does() -> None:
    satisfied = load_package("package_checks").satisfied
    versions = ("2.8", "2.8.0", "2.8.1", "2.9.0+cu130", "2.11.0", "2.29.7", "13.1.0.3", "3")
    ranges = "==2.8.0 ==2.8 ==2.8.* !=2.8.* !=2.8.0 >=2.8.1 >2.8 <2.11 <=2.9.0 ~=2.8.0 ~=2.8"
    ranges += " ==2.9.0+cu130 ==2.9.0+cpu !=2.9.0+cpu !=2.9.0+cu130"
    ranges += " ===2.8.0 ==13.1.0.* >=2.8,<2.9 >=2.8,!=2.8.1,<3 <3,>2.9"
    for version, one in product(versions, ranges.split()):
        if one.startswith("===") and version != one[3:]:
            continue  # that compares letters
        assert satisfied(version, one) == SpecifierSet(one).contains(version), (version, one)
    assert satisfied("unknown", ">=2")
    assert satisfied("2.8", "")


# --- In the child process


def test_companions_that_are_not_asked_for_are_not_loaded(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    project.add_stub_torch(ON_CPU)
    for name in ("torchaudio", "torchcodec"):
        companion(name, "2.11.0+cpu", __init__="raise SystemExit(7)")(project)
    outcome = project.run("--only", "AUDIO-FILTER", "--only", "CODEC-WAV", "--only", "DEV-OPEN")
    assert outcome.code == 0
    assert {"AUDIO-FILTER", "CODEC-WAV"} <= set(outcome.ids("skip"))
    assert "DEV-OPEN" in outcome.ids("pass")


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.skipif("sys.platform != 'linux'", reason="needs the Linux wheel of torch")
def test_ffmpeg_programs_that_do_not_help_are_named(healthy: Project) -> None:
    codec_for(99, library="libavutil.so.151")(healthy)
    folder = healthy.root / "bin"
    folder.mkdir()
    healthy.env["PATH"] = f"{folder}:{healthy.env['PATH']}"
    for said, words, remedy in (
        (
            "ffmpeg version 98.1-static --enable-static",
            "is a static build, without them.",
            "ffmpeg",
        ),
        ("ffmpeg version n98.1 --enable-shared", "ffmpeg is FFmpeg 98.", "that is for FFmpeg 98,"),
        ("ffmpeg version 99.0 --enable-shared", ", though ", "Let LD_LIBRARY_PATH name the folder"),
    ):
        (folder / "ffmpeg").write_text(f"#!/bin/sh\necho {said}\n", encoding="utf-8")
        (folder / "ffmpeg").chmod(0o755)
        outcome = healthy.run("--only", "CODEC-WAV")
        assert (outcome.code, outcome.ids("fail")) == (1, ["CODEC-FFMPEG"])
        assert words in outcome["CODEC-FFMPEG"]["message"]
        assert remedy in outcome["CODEC-FFMPEG"]["remedy"]


MAC = "dlopen(/x/torchcodec/libtorchcodec_core{}.dylib, 0x0006): {}\n  Referenced from: <4C4C> /x"
WINDOWS = r"Could not find module 'C:\x\torchcodec\libtorchcodec_core{}.dll' (or one of its"
WINDOWS += " dependencies). Try using the full path with constructor syntax."


@pytest.mark.parametrize(
    ("said", "name", "message"),
    [
        (
            {
                n: MAC.format(n, f"Library not loaded: @rpath/libavutil.{n + 52}.dylib")
                for n in (7, 8)
            },
            "CODEC-FFMPEG",
            "torchcodec needs the shared libraries of FFmpeg 7 or 8, and finds none of them",
        ),
        (
            {7: MAC.format(7, "Library not loaded: @rpath/libavdevice.61.dylib")},
            "CODEC-FFMPEG",
            "an FFmpeg that is not whole: it lacks libavdevice.61.dylib.",
        ),
        (
            {n: WINDOWS.format(n) for n in (4, 5, 6, 7, 8)},
            "CODEC-FFMPEG",
            "torchcodec needs the shared libraries of FFmpeg 4, 5, 6, 7 or 8, and finds none of",
        ),
        (
            {7: WINDOWS.format(7), 8: "[WinError 127] The specified procedure could not be found"},
            "",
            "torchcodec none is built for another torch than torch 2.14.1",
        ),
        (
            {7: MAC.format(7, "Symbol not found: _aoti_torch_new")},
            "",
            "torchcodec none is built for another torch than torch 2.14.1; it says OSError: dlopen",
        ),
        (
            {7: "/x/libsox.so.3: undefined symbol: lsx_debug_impl"},
            "",
            "A library is of another version than what needs it: it lacks lsx_debug_impl: ",
        ),
        (
            {7: "/usr/lib/libavfilter.so.10: undefined symbol: vaMapBuffer2"},
            "",
            "/usr/lib/libavfilter.so.10 is of another version than a library that it needs: ",
        ),
        (
            {7: "/lib64/libm.so.6: version `GLIBC_2.29' not found (required by /x/_torchaudio.so)"},
            "",
            "This system is too old for what is installed: its glibc lacks GLIBC_2.29: torchcodec ",
        ),
        (
            {7: "/x/c.so: undefined symbol: PyUnicode_AsUTF8AndSize"},
            "",
            "A package that is loaded with torch was built for another version of Python: ",
        ),
        (
            {5: "libpython3.12.so.1.0: cannot open shared object file: No such file or directory"},
            "",
            "torchcodec none does not work; it says OSError: libpython3.12.so.1.0: cannot open",
        ),
    ],
)
def test_what_the_loaders_of_all_systems_say_is_understood(
    monkeypatch: pytest.MonkeyPatch, said: dict[int, str], name: str, message: str
) -> None:
    job = load_package("check").Job("cpu", fallback=False, names=[])
    job.companions = {"torchcodec": "Do this."}
    job.torch = SimpleNamespace(__version__="2.14.1")
    place_of(monkeypatch)
    monkeypatch.setattr(load_package("origins"), "owns", lambda: "dpkg -S")
    found = load_package("companion_checks").explain_ffmpeg(said, job)
    assert (found.id, found.status) == (name, "fail")
    assert message in found.message
    assert "\n" not in found.message
    remedies = {
        "for another torch than": "Do this.",
        "libpython": "Install libpython3.12.so.1.0, or take torchcodec 0.16 or newer",
        "its glibc lacks": "Use a newer system or a container of one, or choose an older torch",
        "/usr/lib/": "Type `dpkg -S /usr/lib/libavfilter.so.10` to see of which package it is",
        "": "Type `",
    }
    assert name or found.remedy.startswith(next(v for k, v in remedies.items() if k in message))


@pytest.mark.parametrize(
    ("release", "container", "typed"),
    [
        ("ID=ubuntu\nID_LIKE=debian\n", False, "Type `sudo apt install ffmpeg`."),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"', False, "Type `sudo dnf install ffmpeg-free`."),
        ("ID=fedora", False, "Type `sudo dnf install ffmpeg-free`."),
        ("ID=opensuse-leap\nID_LIKE='suse opensuse'", False, "Type `sudo zypper install ffmpeg`."),
        ("ID=arch", False, "Type `sudo pacman -S ffmpeg`."),
        ("ID=nixos", False, "Type `nix-shell -p ffmpeg`, or add ffmpeg to the configuration."),
        ("ID=void", False, "Install FFmpeg."),
        (
            "ID=debian",
            True,
            "Type `apt-get update && apt-get install -y ffmpeg` here, and add it to the image, so "
            "that it stays.",
        ),
    ],
)
def test_a_program_is_installed_as_this_system_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, release: str, container: bool, typed: str
) -> None:
    (tmp_path / "os-release").write_text(release, encoding="utf-8")
    system: Any = importlib.import_module("surroundings.system")
    place = importlib.import_module("surroundings.place").Place(
        {"container.docker": ["a sign"]} if container else {}
    )
    monkeypatch.setattr(system, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setattr(system, "here", lambda: place)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    ffmpeg = load_package("companion_checks").FFMPEG
    assert system.install(ffmpeg, "FFmpeg") == typed.replace("`sudo ", "`")  # which root needs not
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    in_image = "Add it to the image, by `apt install ffmpeg` there."  # which is root's to change
    assert system.install(ffmpeg, "FFmpeg") == (in_image if container else typed)
    monkeypatch.setattr(sys, "platform", "win32")
    assert system.install(ffmpeg, "FFmpeg") == "Type `winget install Gyan.FFmpeg.Shared`."
    (tmp_path / "conda-meta").mkdir()
    assert system.install(ffmpeg, "") == "Type `conda install -c conda-forge ffmpeg`."
