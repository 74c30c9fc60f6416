"""Every fault that the smoke test is tried with.

test_smoke_diagnoses.py injects them, pytest prints them, and tools/smoke_docs.py writes them into
docs/smoke-test.md.
"""

from __future__ import annotations

from scripts import (
    faults_cards,
    faults_compile,
    faults_driver,
    faults_import,
    faults_places,
    faults_project,
    faults_pypi,
    faults_systems,
    faults_torch,
)

FAULTS = [
    *faults_project.FAULTS,
    *faults_driver.FAULTS,
    *faults_places.FAULTS,
    *faults_cards.FAULTS,
    *faults_pypi.FAULTS,
    *faults_import.FAULTS,
    *faults_systems.FAULTS,
    *faults_torch.FAULTS,
    *faults_compile.FAULTS,
]
