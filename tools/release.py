"""Makes a version of the template: what its users get with the next `copier update`.

python tools/release.py check VERSION               # may it be? changes nothing
python tools/release.py notes VERSION               # prints what CHANGELOG.md says of it
python tools/release.py changelog VERSION           # moves Unreleased under version and day
python tools/release.py tag VERSION --notes FILE    # check, changelog, commit, annotated tag
python tools/release.py publish VERSION --notes FILE  # pushes both at once; the release on GitHub

The workflow `Release` runs them after the tests. Nothing leaves the machine before `publish`.
VERSION is as PEP 440 writes it, with three numbers: 1.4.0, or 1.5.0rc1 for those who ask for
pre-releases. Its tag, which Copier compares, is v1.4.0.

exit codes: 0 done; 1 refused or failed, in words on stderr; 2 the command line is wrong
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path

from packaging.version import VERSION_PATTERN, InvalidVersion, Version

import changelog
from publishing import BOT, LOGIN, StopError, exit_code, git, refuse_changes, run

ROOT = Path(__file__).parents[1]
BRANCH = "main"
WITH = re.VERBOSE | re.IGNORECASE  # what that pattern needs


def parsed(text: str) -> Version:
    """The version that somebody asks for. StopError: it is none that a tag may have."""
    try:
        version = Version(text)
    except InvalidVersion as error:
        raise StopError(f"{text!r} is no version of PEP 440. Write it as 1.4.0.") from error
    plain = version.base_version + "".join(map(str, version.pre or ()))
    if len(version.release) != 3 or str(version) != plain or version.epoch:
        raise StopError(f"{text} is not of the form 1.4.0 or 1.5.0rc1. Write it so.")
    if text != str(version):
        raise StopError(f"{text} is written {version} in PEP 440. Write it so.")
    return version


def tags(root: Path) -> dict[str, Version]:
    """The tags that Copier takes for versions, the newest first."""
    listed = git(root, "tag", "--list").split()
    found = {tag: Version(tag) for tag in listed if re.fullmatch(VERSION_PATTERN, tag, WITH)}
    return dict(sorted(found.items(), key=lambda one: one[1], reverse=True))


def check(root: Path, version: Version) -> str | None:
    """The newest tag, if there is any. StopError: why the version may not be."""
    branch = git(root, "rev-parse", "--abbrev-ref", "HEAD")
    if branch != BRANCH:
        raise StopError(f"This is {branch}, and versions are made of {BRANCH}. Switch to it.")
    refuse_changes(root)
    if git(root, "rev-parse", "--is-shallow-repository") == "true":
        raise StopError("This clone has not all tags. Get them: `git fetch --unshallow --tags`.")
    newest, known = next(iter(tags(root).items()), (None, None))
    if known and version <= known:
        raise StopError(f"{version} is not newer than the tag {newest}. Choose the next version.")
    text = _read(root)
    changelog.unreleased(text)
    if str(version) in changelog.sections(text):
        raise StopError(f"CHANGELOG.md has a section {version} already. Choose the next version.")
    return newest


def _read(root: Path) -> str:
    try:
        return (root / "CHANGELOG.md").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StopError(f"CHANGELOG.md cannot be read: {error}. Put it there.") from error


def notes(root: Path, version: Version) -> str:
    """What CHANGELOG.md says of a version, or of what is not released; no line is wrapped."""
    text = _read(root)
    said = changelog.sections(text).get(str(version)) or changelog.unreleased(text)
    return changelog.unwrapped(said)


def address(root: Path) -> str | None:
    """Where people read the repository on GitHub: of the job, or of `origin`."""
    if name := os.environ.get("GITHUB_REPOSITORY"):
        return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}"
    origins = [line for line in git(root, "remote", "-v").splitlines() if line.startswith("origin")]
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?\s", " ".join(origins))
    return f"https://github.com/{found[1]}" if found else None


def write_changelog(root: Path, version: Version, day: date) -> None:
    """Move what is unreleased under the version and the day."""
    text = changelog.released(_read(root), str(version), day, address(root))
    (root / "CHANGELOG.md").write_text(text, encoding="utf-8", newline="\n")


def tag(root: Path, version: Version, day: date, file: Path) -> None:
    """Commit the version's changelog, tag it, and write the notes to a file."""
    check(root, version)
    told = notes(root, version)
    file.write_text(f"{told}\n", encoding="utf-8", newline="\n")
    before = git(root, "rev-parse", "HEAD")
    write_changelog(root, version, day)
    message = f"chore: release {version}"
    try:
        git(root, *BOT, "commit", "--quiet", "--only", "--message", message, "CHANGELOG.md")
        git(root, *BOT, "tag", "--annotate", "--message", f"torch-starter {version}", f"v{version}")
    except StopError:
        git(root, "reset", "--quiet", "--hard", before)
        raise


def publish(root: Path, version: Version, file: Path) -> None:
    """Push the branch and the tag, both or none, and make the release on GitHub."""
    name = f"v{version}"
    refs = [f"HEAD:refs/heads/{BRANCH}", f"refs/tags/{name}"]
    try:
        git(root, *LOGIN, "push", "--quiet", "--atomic", "origin", *refs)
    except StopError as error:
        raise StopError(
            f"{error}\nNothing is published. If {BRANCH} has moved on, run the workflow again;"
            " if it is protected, CONTRIBUTING.md says which token it takes."
        ) from error
    kind = "--prerelease" if version.is_prerelease else "--latest"
    words = ["--verify-tag", "--title", name, "--notes-file", str(file), kind]
    try:
        print(run(root, "gh", "release", "create", name, *words))
    except StopError as error:
        raise StopError(
            f"{error}\nThe tag {name} is published, and its release is not. Make it: `gh release"
            f" create {name} --verify-tag --notes-file FILE`, with FILE from `python"
            f" tools/release.py notes {version}`."
        ) from error


def _work(asked: argparse.Namespace) -> None:
    version, root = parsed(asked.version), asked.root
    today = datetime.now(timezone.utc).date()
    if asked.what == "check":
        newest = check(root, version)
        print(f"{version} follows {newest}." if newest else f"{version} is the first version.")
    elif asked.what == "notes":
        print(notes(root, version))
    elif asked.what == "changelog":
        write_changelog(root, version, today)
    elif asked.what == "tag":
        tag(root, version, today, asked.notes)
    else:
        publish(root, version, asked.notes)


def main(given: Sequence[str] | None = None) -> int:
    """Command line: see the top of this file."""
    about = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=about)
    parser.add_argument("what", choices=["check", "notes", "changelog", "tag", "publish"])
    parser.add_argument("version", metavar="VERSION")
    parser.add_argument("--notes", type=Path, metavar="FILE", help="what the release says")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository: %(default)s")
    asked = parser.parse_args(given)
    if asked.what in ("tag", "publish") and not asked.notes:
        parser.error(f"{asked.what} needs --notes FILE")
    if asked.notes:
        asked.notes = asked.notes.absolute()
    return exit_code(lambda: _work(asked))


if __name__ == "__main__":
    sys.exit(main())
