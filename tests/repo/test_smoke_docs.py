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
    assert set(load_package("catalogue").ids()) == ids()


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


def test_every_id_has_a_symptom_a_cause_and_a_remedy_that_say_something() -> None:
    catalogue = load_package("catalogue")
    for name in catalogue.ids():
        found = catalogue.entry(name)
        assert found.symptoms, name
        assert all(len(one) > 7 and one.isascii() for one in found.symptoms), name
        assert found.causes, name
        for cause in found.causes:
            told = [row for row in cause if row.place != catalogue.LIKE]
            assert any(row.do for row in cause), name
            for row in told:
                assert row.says.endswith("."), (name, row)
                assert row.do.endswith("." if row.do else ""), (name, row)
                assert (row.says + row.do).isascii(), (name, row)


def test_what_a_cause_says_the_table_of_symptoms_does_not_say_again() -> None:
    """Nor does it name what the smoke test does not know."""
    knowledge = importlib.import_module("surroundings.knowledge")
    machine = load_package("machine")
    causes = knowledge.table("causes")
    said = {causes[name].get("says") for name in causes.sections()}
    table = knowledge.table("symptoms.ini")
    for name in table.sections():
        assert set(table[name]) <= {"symptoms", "cause", "do", "as"}, name
        texts = [table[name][key] for key in ("cause", "do") if key in table[name]]
        assert table[name].get("cause") not in said or "cause" not in table[name], name
        assert all(hasattr(machine, word) for word in re.findall(r"{(\w+)}", " ".join(texts))), name


def test_every_cause_of_a_code_is_there() -> None:
    knowledge = importlib.import_module("surroundings.knowledge")
    causes = {cause for _, _, (*_, cause) in load_package("catalogue").codes() if cause}
    assert len(causes) > 5
    assert causes <= set(knowledge.table("causes").sections())
