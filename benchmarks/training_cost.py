"""What the training of a project costs above a bare loop of PyTorch's; Linux.

    python benchmarks/training_cost.py [--runs 5] [--torch-python .cache/training-venv/bin/python]

The aim is a step of at most 1.03 times the bare one's, of the same model, data and optimizer; the
script exits 1 beyond it. The Python is one that the training's own tests install: run those first,
or name one with a torch for this machine's GPU, and with what pyproject.toml of a project asks for.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from render.projects import ROOT, render
from training.runs import Program

AIM = 1.03
INSIDE = Path(__file__).with_name("training_inside.py")
WIDTHS = (32, 128, 512)
BATCHES = (64, 512)
BARE_START = """
import torch
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters())
model(torch.rand(64, 1, 8, 8)).sum().backward()
optimizer.step()
print("step 1/1", flush=True)
"""


def inside(program: Program, *arguments: str | int, processes: int = 0) -> dict[str, float]:
    """Measure in a process with torch, or in some that torchrun starts."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*(launcher if processes else []), str(INSIDE), *map(str, arguments)]
    running = program.start([str(program.python), *command])
    said, _ = running.communicate()
    if running.returncode:
        sys.exit(said)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def gpus(program: Program) -> int:
    """How many GPUs torch sees there."""
    command = [str(program.python), "-c", "import torch; print(torch.accelerator.device_count())"]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def until(program: Program, command: list[str], line: str) -> float:
    """Seconds from the start of a command to a line with these words; then it is killed."""
    began = time.perf_counter()
    running = program.start(command)
    said = []
    for one in running.stdout or ():
        said.append(one)
        if line in one:
            break
    else:
        sys.exit("".join(said))
    taken = time.perf_counter() - began
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    return taken


def starts(program: Program, runs: int) -> dict[str, float]:
    """Seconds to the first step of a bare loop, of a new run, and of one that was killed."""
    own = program.command("--epochs", "1000", "--save-every", "5")
    bare = [str(program.python), "-c", BARE_START]
    until(program, own, "step 12/")
    taken: dict[str, list[float]] = {"a bare loop": [], "the program, killed before": []}
    for _ in range(runs):
        taken["a bare loop"].append(until(program, bare, "step 1/"))
        taken["the program, killed before"].append(until(program, own, "step 11/"))
    return {name: statistics.median(times) for name, times in taken.items()}


def report_processes(program: Program, runs: int) -> None:
    """Print how much faster two processes are."""
    if gpus(program) == 1:
        print("\nTwo processes need two GPUs, or none.")
        return
    print(f"\n{'step of':28}{'1 process':>12}{'2 processes':>13}{'speedup':>9}")
    for batch in BATCHES:
        one, two = [], []
        for _ in range(runs):
            one.append(inside(program, "rate", batch, processes=1)["step"])
            two.append(inside(program, "rate", batch, processes=2)["step"])
        alone, both = statistics.median(one) * 1e3, statistics.median(two) * 1e3
        print(f"{f'{batch} samples':28}{alone:9.2f} ms{both:10.2f} ms{alone / both:9.2f}")


def main() -> int:
    """Command line: see the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    default = ROOT / ".cache/training-venv/bin/python"
    parser.add_argument("--torch-python", type=Path, default=default)
    arguments = parser.parse_args()
    if not arguments.torch_python.is_file():
        sys.exit(f"{arguments.torch_python} is missing: run `pytest tests/training` first.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = render(folder / "project", starter="training") / "src"
        program = Program(arguments.torch_python.absolute(), source, folder / "run")
        step = inside(program, "step", 20 * arguments.runs)
        print(f"{'a bare step':28}{step['bare'] * 1e3:9.2f} ms{1:8.3f} x")
        print(f"{'the program':28}{step['program']:20.3f} x")
        print(f"{'with its lines and curves':28}{step['with lines']:20.3f} x")
        report_processes(program, arguments.runs)
        print(f"\n{'checkpoint':>10}{'sync':>12}{'loop waits':>12}{'on the disk':>13}{'ratio':>7}")
        for width in WIDTHS:
            found = inside(program, "checkpoint", width)
            times = [found[name] * 1e3 for name in ("sync", "waits", "written")]
            shown = "".join(f"{taken:9.1f} ms" for taken in times)
            print(f"{found['MB']:7.1f} MB{shown}{times[1] / times[0]:7.2f}")
        print("\nfrom the start to the first step")
        found = starts(program, arguments.runs)
        bare = found["a bare loop"]
        for what, taken in found.items():
            print(f"{what:28}{taken:10.2f} s{taken / bare:8.2f} x")
    print(f"\nthe aim, a step of {AIM}: {'met' if step['program'] <= AIM else 'MISSED'}")
    return 0 if step["program"] <= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
