"""Reads `version_matrix.yml`; a mistake in it becomes a sentence that names the row."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from copier.errors import UserMessageError
from pydantic import ValidationError

from .model import Matrix

MATRIX = Path(__file__).with_name("version_matrix.yml")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML, by libyaml where it is there; a key written twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, each key once."""
        keys = [key.value for key, _ in node.value]
        for (key, _), name in zip(node.value, keys, strict=True):
            if keys.count(name) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"{name} is written twice", problem_mark=key.start_mark
                )
        return dict(super().construct_mapping(node, deep=deep))


@lru_cache
def load_matrix(path: Path = MATRIX) -> Matrix:
    """Read and validate the matrix.

    Raises:
        UserMessageError: naming the row, if the file is not YAML or breaks the model.
    """
    try:
        return Matrix.model_validate(yaml.load(path.read_bytes(), _Loader))  # noqa: S506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserMessageError(
            f"{path.name}, line {line}: {error.problem}. Undo the last edit there."
        ) from error
    except yaml.YAMLError as error:
        raise UserMessageError(f"{path.name} is not YAML: {error}. Undo the last edit.") from error
    except ValidationError as error:
        first = error.errors()[0]
        row = " > ".join(str(part) for part in first["loc"]) or "the file"
        raise UserMessageError(
            f"{path.name}: {row}: {first['msg']} ({error.error_count()} errors). Correct that row."
        ) from error
