"""Checkpoints that survive: each a folder, written beside its place, renamed when it is whole."""

import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import async_save

from .failures import damage, refuse_another
from .processes import Processes

State = dict[str, Any]


class Checkpoints:
    """Those of a run. What is not called `when_done` all processes have to call together."""

    def __init__(self, folder: Path, keep: int, together: Processes) -> None:
        self.folder, self.keep, self.first = folder, keep, together.first
        self.group: Any = None  # of its own: saving goes on meanwhile
        if together.count > 1:
            self.group = dist.new_group(backend="gloo")
        self.writing: tuple[Path, Future[Any]] | None = None

    def all(self) -> list[Path]:
        """The checkpoints that are whole, the newest last."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def save(self, step: int, state: State) -> None:
        """Begin to write one: when this returns, `state` may change again."""
        self.finish()
        unfinished = self.folder / "unfinished"
        if self.first:
            shutil.rmtree(unfinished, ignore_errors=True)
        if self.group:
            dist.barrier(self.group)
        writing = async_save(state, checkpoint_id=unfinished, process_group=self.group)
        assert isinstance(writing, Future)
        self.writing = self.folder / f"step-{step:08}", writing

    def when_done(self) -> None:
        """Give a checkpoint its place if it has been written meanwhile."""
        if self.writing and self.writing[1].done():
            path, writing = self.writing
            self.writing = None
            writing.result()
            if self.first:
                shutil.rmtree(path, ignore_errors=True)
                (self.folder / "unfinished").rename(path)
                kept = [one for one in self.all() if one <= path][-self.keep :]
                for old in set(self.all()).difference(kept):  # or later: what was broken
                    shutil.rmtree(old, ignore_errors=True)

    def finish(self) -> None:
        """Wait until the last one is written, and has its place."""
        if self.writing:
            self.writing[1].exception()
            self.when_done()
        if self.group:
            dist.barrier(self.group)

    def load(self, made: Callable[[], State]) -> State | None:
        """The newest that is whole, read into what `made` makes; None if there is none."""
        found: list[Path | None] = [self._newest_whole() if self.first else None]
        if self.group:
            dist.broadcast_object_list(found, group=self.group)
        if not (path := found[0]):
            return None
        refuse_another(path, (state := made())["model"])
        # A scaler, say, may have come since: it begins anew.
        some = DefaultLoadPlanner(allow_partial_load=True)
        load(state, checkpoint_id=path, planner=some, process_group=self.group)
        return state

    def _newest_whole(self) -> Path | None:
        found = self.all()
        while found and (problem := damage(found[-1])):
            broken = found.pop()
            taken = found[-1].name if found else "the beginning"
            print(f"{broken} is broken, and {taken} is taken: {problem}.", flush=True)
        return found[-1] if found else None
