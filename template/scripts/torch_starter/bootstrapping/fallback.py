"""--fallback: PyPI's own wheels in the place of a build whose index does not answer."""

from __future__ import annotations

import sys

from .choice import why_no_fallback
from .contents import read_stamp
from .failures import IndexStopError, index_advice
from .index import DENIED, LOGIN, PROXY, UNTRUSTED, Trouble, index_trouble
from .places import step
from .project import FALLBACK
from .requirements import one_index
from .runner import Runner

# Where an index does not answer as it should, the managers need not insist.
IMPATIENT = ("PIP_RETRIES", "UV_HTTP_RETRIES", "POETRY_REQUESTS_MAX_RETRIES")


def trouble_ahead(runner: Runner) -> Trouble | None:
    """Ask the index of the build before a manager is started; what is wrong with it for sure."""
    project, options = runner.project, runner.options
    if options.offline:  # the index is not asked, and what stands in for it may stay
        kept = str(read_stamp().get("fallback", "")) if options.fallback else ""
        return Trouble(kept) if kept else None
    from_pypi = runner.platform.startswith("macos")  # of which only locking asks the index
    no_need = from_pypi and (project.manager == "pip" or project.lock.exists())
    if options.dry_run or no_need or not project.build["index_url"]:
        return None
    with step(f"asking {project.build['index_url']}"):
        trouble = index_trouble(project.build, runner.platform, project.installer, runner.env)
    if trouble and not trouble.sure:
        for name in IMPATIENT:
            runner.env.setdefault(name, "0")
        return None
    return trouble


def fall_back(runner: Runner, trouble: Trouble, stop: IndexStopError | None = None) -> None:
    """Let PyPI's own wheels stand in, if that is wanted and does; else Stop.

    `stop`: what to end with, where a manager has already failed.
    """
    project, platform = runner.project, runner.platform
    if not stop:
        tool = project.installer
        said = index_advice(project, platform, trouble, "nothing was changed", tool)
        stop = IndexStopError(trouble, *said)
    fallback = runner.options.fallback
    # Where the door is shut for want of a login or a certificate, PyPI is mostly behind it too.
    shut = any(one.search(trouble.what) for one in (LOGIN, DENIED, UNTRUSTED))
    if not fallback and (shut or runner.options.quiet or not on_a_terminal()):
        raise stop
    if PROXY.search(trouble.what) or why_no_fallback(project, platform):
        raise stop
    print(f"  {trouble.what}.", flush=True)
    if not fallback and not wanted():
        raise stop
    runner.project = project._replace(machine_build=FALLBACK, fallback=trouble.what)
    one_index(runner.project)
    label = project.build["label"]
    print(f"  PyPI's own wheels stand in for {label}, on this machine alone.", flush=True)


def on_a_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def wanted() -> bool:
    """Ask; an empty answer is a no."""
    # Not by input() itself, which may write to stderr.
    print("  Take PyPI's own wheels, for this machine alone? [y/N] ", end="", flush=True)
    try:
        answer = input()
    except EOFError:
        print()
        return False
    return answer.strip().lower() in ("y", "yes")
