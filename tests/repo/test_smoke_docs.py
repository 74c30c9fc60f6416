"""docs/smoke-test.md has every id of the smoke test, and says what its code says."""

import importlib
import re
from pathlib import Path

from scripts.faults import FAULTS
from scripts.smoke_helpers import load_package
from smoke_docs import PAGE, page

SOURCES = Path(__file__).parents[2] / "template" / "scripts" / "torch_starter" / "gpu_smoke"


def ids() -> set[str]:
    """Every id that the smoke test can report."""
    command = load_package("command")
    causes = importlib.import_module("surroundings.knowledge").table("causes")
    told = {causes[name]["id"] for name in causes.sections() if "id" in causes[name]}
    checks = {*command.MACHINE_CHECKS, *command.TORCH_CHECKS}
    return told | checks | {"TORCH-EXIT", "CODEC-FFMPEG", "TORCH-NVJITLINK"}


def test_the_catalogue_has_every_id_once_and_no_other() -> None:
    assert set(load_package("catalogue").CATALOGUE) == ids()


def test_no_id_in_the_code_has_been_forgotten() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*_checks.py"))
    written = re.findall(
        r'"((?:PY|TORCH|PKG|ENV|SYS|DRV|CUDA|ROCM|XPU|DEV|NUM|LIB|CODEC|PERF)-[A-Z0-9]+)"', text
    )
    assert set(written) <= ids()
    assert len(set(written)) > 40


def test_the_page_is_what_the_catalogue_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert all(f"\n### {name}\n" in page() for name in ids())


def test_every_fault_that_is_injected_has_an_entry_and_its_own_words() -> None:
    assert {one.id for one in FAULTS} <= ids()
    assert len({one.what for one in FAULTS}) == len(FAULTS) >= 40
    # Those without a row here: only Windows or macOS has them, or their own tests inject them.
    assert ids() - {one.id for one in FAULTS} <= {
        *("SYS-LONGPATH", "TORCH-DLL", "MPS", "PKG-NUMPY", "PERF-BW", "PERF-H2D")
    }


def test_every_row_has_a_symptom_a_cause_and_a_remedy_that_say_something() -> None:
    for name, (symptom, cause, remedy) in load_package("catalogue").CATALOGUE.items():
        assert len(symptom) > 15, name
        assert cause.endswith("."), name
        assert remedy.endswith("."), name
        assert (symptom + cause + remedy).isascii(), name
