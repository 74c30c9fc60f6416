"""Every command that a message or page prints is accepted, under any policy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from matrix.moving import follow, projects, refusals, with_policy
from torch_template.moves import answers, command, switch
from torch_template.notes import notes
from torch_template.resolving import alternatives


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "every"),  # of the projects one in so many
    [("as shipped", 13), ("without cpu", 1), ("as shipped", 11), ("with retirements", 17)],
)
def test_every_printed_move_is_accepted_and_goes_where_it_says(policy: str, every: int) -> None:
    matrix = with_policy(policy)
    commands = 0
    for build in projects(matrix, every):
        others = alternatives(matrix, build.asked)
        said = [line.strip() for note in notes(matrix, build, others) for line in note.split("\n")]
        printed = [line for line in said if line.startswith("copier ")]
        printed += [switch(build, others)] if others else []
        for one in printed:
            new = follow(build.asked, one)
            assert new != build.asked
            assert refusals(matrix, build.asked, new) == [], (build.asked, one)
            commands += 1
    assert commands > 50


def test_a_project_with_another_answers_file_is_told_of_it() -> None:
    matrix = with_policy("as shipped")
    build = next(projects(matrix))
    other = alternatives(matrix, build.asked)[0]
    for name, said in {
        ".copier-answers.yml": "",
        ".copier-answers.torch.yml": " --answers-file .copier-answers.torch.yml",
        "my answers.yml": ' --answers-file "my answers.yml"',
    }.items():
        mine = replace(build, asked=replace(build.asked, answers_file=name))
        update = f"copier update --trust{said} --defaults"
        assert command(mine, other) == f"{update} {answers(build, other)}"
        assert switch(mine, [other]).startswith(f"{update} --vcs-ref=:current: ")
        assert switch(mine, []) == f"copier update --trust{said} --vcs-ref=:current:"
