"""The JSON Schema of the report takes every report, and refuses what is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest

from scripts.smoke_helpers import Project, valid


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """A report."""
    return Project(tmp_path / "project").run("--only", "PY-VERSION").document


def test_a_report_may_have_more_keys(document: dict[str, Any]) -> None:
    document["new"] = document["checks"][0]["new"] = 1
    valid(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda report: report.update(schema="smoke/2"),
        lambda report: report.update(level="slow"),
        lambda report: report.update(exit_code=2),
        lambda report: report.update(started="yesterday"),
        lambda report: report.pop("host"),
        lambda report: report["checks"].clear(),
        lambda report: report["summary"].update(fail=-1),
        lambda report: report["checks"][0].update(status="ok"),
        lambda report: report["checks"][0].update(id="py-version"),
        lambda report: report["checks"][0].update(message=""),
        lambda report: report["checks"][0].pop("remedy"),
    ],
)
def test_what_is_no_report_is_refused(
    document: dict[str, Any], change: Callable[[dict[str, Any]], object]
) -> None:
    change(document)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        valid(document)
