"""Projects with the real torch, and ways to doctor it."""

from pathlib import Path

from scripts.smoke_helpers import TORCH, Project, write_version


def real_project(tmp_path: Path, torch_venv: Path, build: str = "cpu") -> Project:
    """A project whose .venv has the real torch."""
    project = Project(tmp_path / "project", build)
    (project.root / ".venv").symlink_to(torch_venv)
    project.executable = str(project.root / ".venv" / "bin" / "python")
    return project


def doctor(project: Project, torch_venv: Path, metadata: str = "", **lines: str) -> None:
    """Give the real torch another version.py: that of the project's build."""
    site = project.root / "site"
    write_version(site, f"{TORCH}+{project.build}", lines, metadata)
    real = next(torch_venv.glob("lib/python*/site-packages/torch"))
    for path in real.iterdir():
        if path.name not in ("version.py", "__pycache__"):
            (site / "torch" / path.name).symlink_to(path)
    project.env["PYTHONPATH"] = str(site)


def patch_torch(project: Project, code: str) -> None:
    """Run code right after torch is imported."""
    hook = f"""
import importlib.abc, importlib.util, sys
class Hook(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        def execute_and_patch(torch):
            execute(torch)
            exec({code!r}, {{"torch": torch}})
        spec.loader.exec_module = execute_and_patch
        return spec
if "--child" in sys.orig_argv:
    sys.meta_path.insert(0, Hook())
"""
    (project.root / "site").mkdir()
    (project.root / "site" / "sitecustomize.py").write_text(hook, encoding="utf-8")
    project.env["PYTHONPATH"] = str(project.root / "site")
