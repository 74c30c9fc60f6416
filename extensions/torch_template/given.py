"""The answers that Copier is given without asking: by --data, a settings.yml or an answers file."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

import yaml
from copier.errors import UserMessageError
from jinja2.runtime import Context

NOT_GIVEN = object()
UNASKED = frozenset({"own_files"})  # recorded only in a project that has an answer


def read_questions(copier_yml: Path) -> frozenset[str]:
    """The names of a template's questions, a fork's own ones with them."""
    text = copier_yml.read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([A-Za-z]\w*):", text, re.MULTILINE))


def are_recorded(context: Context) -> bool:
    """Whether the given answers are recorded ones, so that no menu is shown.

    An update renders the old and the new version with them, to see what the owner changed since.
    """
    return "_commit" in context["_copier_conf"]["data"]


def given_answer(context: Context, question: str) -> object:
    """The answer that Copier takes without showing the question, or NOT_GIVEN.

    That is one from --data, a recorded one where no questions are asked, or one from settings.yml.
    """
    conf = context["_copier_conf"]
    if question in conf["data"]:
        return conf["data"][question]
    if question in context:
        silent = conf["defaults"] or conf["skip_answered"]
        return context[question] if silent else NOT_GIVEN
    return conf["settings"].defaults.get(question, NOT_GIVEN)


def forget_default(context: Context, question: str) -> None:
    """Let settings.yml say nothing of a question to a project that is older than it.

    What stands there is for new projects; this one is to stay as it is. Copier looks there only
    after it has rendered `ask`.
    """
    if is_project(context) and question not in context:
        context["_copier_conf"]["settings"].defaults.pop(question, None)


def is_project(context: Context) -> bool:
    """Whether there is a project already, of which an update or a copy changes the answers."""
    conf = context["_copier_conf"]
    return are_recorded(context) or Path(conf["dst_path"], conf["answers_file"]).exists()


_KEPT: dict[str, object] = {}  # what `kept_answer` read last


def kept_answer(context: Context, question: str, questions: frozenset[str]) -> object:
    """What a project has already, and may keep though a new one would be refused it; or NOT_GIVEN.

    Of the three renderings of an update, one lies beside the answers file. The old version's is
    given what is in it. The last is given all answers, and takes what was read for the second.
    """
    conf = context["_copier_conf"]
    if are_recorded(context):
        return conf["data"].get(question, NOT_GIVEN)
    try:
        text = Path(conf["dst_path"], conf["answers_file"]).read_bytes()
    except OSError:
        return (
            _KEPT.get(question, NOT_GIVEN)
            if questions - UNASKED <= conf["data"].keys()
            else NOT_GIVEN
        )
    _KEPT.clear()
    _KEPT.update(yaml.safe_load(text) or {})
    return _KEPT.get(question, NOT_GIVEN)


def refuse_unknown(context: Context, questions: frozenset[str]) -> None:
    """Stop at a name that Copier would ignore, and take the default of the question that was meant.

    That is any name of an answers file, and one of --data that nearly is a question's.

    Raises:
        UserMessageError: with the name that was meant, if one is near.
    """
    conf = context["_copier_conf"]
    for name in conf["data"].keys() - questions:
        near = get_close_matches(name, questions, 1, 0.8)
        meant = f": did you mean {near[0]}?" if near else "."
        if are_recorded(context) and not name.startswith("_"):
            raise UserMessageError(
                f"{name} in {conf['answers_file']} is no question of version"
                f" {conf['data']['_commit']}{meant} Correct that line or take it out, and commit."
            )
        if near:
            raise UserMessageError(f"{name} is no question{meant}")


def refuse_missing(context: Context, question: str) -> None:
    """Stop if an answers file lost an answer: the default need not be what the project has.

    Raises:
        UserMessageError: that says how to find it.
    """
    conf = context["_copier_conf"]
    if are_recorded(context) and question not in conf["data"] and question not in UNASKED:
        file = conf["answers_file"]
        raise UserMessageError(
            f"{question}: {file} has no answer. Write its line back (`git log -p -- {file}` shows"
            " it), and commit."
        )
