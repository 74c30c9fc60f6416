"""What gets in the way of `import torch`: real libraries and files, and words that were said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scripts.injections import Injection, compiled, package, torch_requires
from scripts.smoke_helpers import Project

STDCPP = "version `GLIBCXX_3.4.30' not found (required by /x/torch/lib/libtorch_python.so)"


def beside(
    variable: str, name: str, code: str = "", folder: str = "elsewhere"
) -> Callable[[Project], object]:
    """A real library, in a folder beside the project that a variable names."""

    def write(project: Project) -> None:
        place = project.root.parent / folder
        place.mkdir(exist_ok=True)
        compiled(place / name, code)
        project.env[variable] = ":".join(filter(None, (str(place), project.env.get(variable))))

    return write


def raises(what: str, name: str, remedy: str, said: str, error: str, **more: Any) -> Injection:  # noqa: ANN401
    """A torch whose import raises this, in words that were really said."""
    kind, _, text = error.partition(": ")
    return Injection(what, name, remedy, said, 1, torch=f"raise {kind}({text!r})", **more)


def nccl(version: str, *others: str) -> Callable[[Project], object]:
    """An NCCL of another version than torch requires, and other packages."""

    def write(project: Project) -> None:
        torch_requires("nvidia-nccl-cu13==2.29.7; platform_system == 'Linux'")(project)
        for name, one in (("nvidia-nccl-cu13", version), *((other, "1.0") for other in others)):
            package(project, name, one)

    return write


def own_stdcpp(project: Project) -> None:
    """An old libstdc++ that LD_LIBRARY_PATH names, of which the loader really complains."""
    beside("LD_LIBRARY_PATH", "libstdc++.so.6", folder="old")(project)
    library = project.root.parent / "old" / "libstdc++.so.6"
    stub = project.root / "site" / "torch" / "__init__.py"
    stub.write_text(f"raise ImportError({f'{library}: {STDCPP}'!r})\n", encoding="utf-8")


def from_elsewhere(name: str, version: str, code: str) -> Callable[[Project], object]:
    """A module that PYTHONPATH brings from outside of the project, before the environment's."""

    def write(project: Project) -> None:
        folder = project.root.parent / "opt" / "ros"
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(code, encoding="utf-8")
        text = f"__version__ = {version!r}\ncuda = '12.4'\n"
        (folder / name / "version.py").write_text(text, encoding="utf-8")
        project.env["PYTHONPATH"] = f"{folder}:{project.env['PYTHONPATH']}"

    return write


def real_file(name: str, content: bytes) -> Callable[[Project], object]:
    """A file that the loader is really given, in place of a library of torch's."""

    def write(project: Project) -> None:
        library = project.root / "site" / "torch" / "lib" / name
        library.parent.mkdir()
        library.write_bytes(content)
        code = f"import ctypes\nctypes.CDLL({str(library)!r})\n"
        (project.root / "site" / "torch" / "__init__.py").write_text(code, encoding="utf-8")

    return write


def extension(path: str, code: str, of: str = "") -> Callable[[Project], object]:
    """A real library in site, and in the RECORD of a package."""

    def write(project: Project) -> None:
        library = project.root / "site" / path
        library.parent.mkdir(parents=True, exist_ok=True)
        compiled(library, code)
        if of:
            record = project.root / "site" / f"{of}.dist-info" / "RECORD"
            record.write_text(f"{path},,\n", encoding="utf-8")

    return write
