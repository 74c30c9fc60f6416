"""A reader of the tests is told when the facts are old; no build breaks by the calendar."""

from __future__ import annotations

import warnings
from datetime import date, timedelta

import pytest

from torch_template.matrix.loading import load_matrix

DAYS = 90  # PyTorch brings a release every two months


class OldFactsWarning(UserWarning):
    """The matrix may lack a release."""


def warn_if_old(reviewed: date, today: date) -> None:
    """Warn if that is more than 90 days ago."""
    days = (today - reviewed).days
    if days > DAYS:
        text = f"version_matrix.yml was last reviewed {days} days ago, on {reviewed}."
        advice = "CONTRIBUTING.md, Add a release of torch, says how to review it."
        warnings.warn(f"{text} {advice}", OldFactsWarning, stacklevel=2)


def test_old_facts_are_warned_of() -> None:
    today = date(2026, 4, 1)
    with pytest.warns(OldFactsWarning, match="91 days ago, on 2025-12-31. CONTRIBUTING.md"):
        warn_if_old(today - timedelta(days=91), today)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_old(today - timedelta(days=90), today)


def test_todays_facts_pass_and_their_age_is_in_pytests_summary_of_warnings() -> None:
    """Which is where to look: this never fails."""
    warn_if_old(load_matrix().reviewed, date.today())
