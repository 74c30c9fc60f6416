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
    (project.root / "site").mkdir(exist_ok=True)
    (project.root / "site" / "sitecustomize.py").write_text(hook, encoding="utf-8")
    project.env["PYTHONPATH"] = str(project.root / "site")


def pretend_gpus(project: Project, code: str = "", capabilities: str = "90 90") -> None:
    """Let the real torch take its CPU for several GPUs of CUDA, and run code after that.

    Names of devices are changed on their way into torch, so that all numbers are really computed.
    For a bad card among good ones, `code` adds pairs to `broken`: the name of a function and a
    device on which it makes NaN.
    """
    patch_torch(project, PRETENCE.format(capabilities=capabilities.split()) + code)


PRETENCE = """
import types
from torch.overrides import TorchFunctionMode
capabilities, broken = {capabilities!r}, set()
def is_gpu(value):
    return isinstance(value, str) and value.startswith("cuda")
class Pretend(TorchFunctionMode):
    def __torch_function__(self, function, types, arguments=(), options=None):
        given = [*arguments, *(options or {{}}).values()]
        arguments = ["cpu" if is_gpu(one) else one for one in arguments]
        options = {{k: "cpu" if is_gpu(v) else v for k, v in (options or {{}}).items()}}
        options.pop("pin_memory", None)
        result = function(*arguments, **options)
        bad = any(is_gpu(one) and (function.__name__, one) in broken for one in given)
        return result * float("nan") if bad else result
Pretend().__enter__()
def properties(device):
    index = int(str(device).rpartition(":")[2])
    major, minor = divmod(int(capabilities[index]), 10)
    return types.SimpleNamespace(major=major, minor=minor, gcnArchName="gfx90a:sramecc+:xnack-")
def replace(module, **functions):
    for name, function in functions.items():
        getattr(module, name)  # which the real torch must have
        setattr(module, name, function)
replace(
    torch.cuda,
    get_device_properties=properties,
    get_device_capability=lambda d: (properties(d).major, properties(d).minor),
    device_count=lambda: len(capabilities),
    get_device_name=lambda device: "NVIDIA Test " + str(device)[-1],
    get_arch_list=lambda: ["sm_75", "sm_80", "sm_90", "compute_90"],
    mem_get_info=lambda device: (70 * 2**30, 80 * 2**30),
    synchronize=lambda device: None,
    set_device=lambda device: None,
)
replace(torch.accelerator, device_count=lambda: len(capabilities))
scaler = torch.amp.GradScaler
torch.amp.GradScaler = lambda: scaler("cpu")
"""
