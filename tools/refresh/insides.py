"""What is written inside a wheel: its METADATA, and the compute platform that it was built for."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from packaging.requirements import InvalidRequirement, Requirement

from refresh.cache import Cache, Kept
from refresh.client import Client, shown
from refresh.errors import RefreshError
from refresh.wheels import File

METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
SYSTEMS = {  # by the first word of a platform: what markers ask for
    "linux": {"platform_system": "Linux", "sys_platform": "linux", "os_name": "posix"},
    "windows": {"platform_system": "Windows", "sys_platform": "win32", "os_name": "nt"},
    "macos": {"platform_system": "Darwin", "sys_platform": "darwin", "os_name": "posix"},
}
CUDA = re.compile(r"(\d+)\.(\d+)\b.*", re.S)
PLATFORM = re.compile(r"cpu|cu\d{3,4}|rocm\d+(\.\d+)*|xpu", re.ASCII)


class Insides:
    """Reads the insides of wheels, each once: a wheel of one hash never changes."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client, self._cache = client, cache
        self._seen: dict[str, bytes] = {}

    def metadata(self, file: File) -> bytes:
        """A wheel's METADATA: from beside it (PEP 658) if the page says so, else from inside."""
        content = self._known(file, "METADATA")
        if content is None and (content := self._beside(file)):
            self._keep(file, "METADATA", content)
        if content is None:
            content = self._inside(file)["METADATA"]
        if not content:
            raise RefreshError(
                f"{shown(file.url)} has no METADATA and so is no wheel. Leave it out of the matrix,"
                " and tell its makers."
            )
        return content

    def version_py(self, file: File) -> bytes:
        """The package's version.py, which PyTorch's builds write; empty if a wheel has none."""
        content = self._known(file, "version.py")
        return self._inside(file)["version.py"] if content is None else content

    def _known(self, file: File, name: str) -> bytes | None:
        key = f"{file.url}#{file.sha256}#{name}"
        if key not in self._seen and (kept := self._cache.get(key)):
            self._seen[key] = kept.body
        return self._seen.get(key)

    def _keep(self, file: File, name: str, content: bytes) -> None:
        key = f"{file.url}#{file.sha256}#{name}"
        self._seen[key] = content
        if file.sha256:  # without it, the file of this name may be another one tomorrow
            self._cache.put(Kept(key, file.url, "", content))

    def _beside(self, file: File) -> bytes | None:
        """The METADATA file beside a wheel; None if there is none, or not that of this wheel."""
        if not file.metadata_url:
            return None
        url, _, digest = file.metadata_url.partition("#sha256=")
        kept = self._client.get(url, missing=(403, 404))
        if kept is None or (digest and hashlib.sha256(kept.body).hexdigest() != digest.lower()):
            return None
        return kept.body

    def _inside(self, file: File) -> dict[str, bytes]:
        """Both files, of which whoever wants one mostly wants the other too; empty if not there."""
        wanted = {"METADATA": METADATA, "version.py": re.compile(rf"{file.package}/version\.py")}
        found = self._client.members(file.url, wanted)
        for name, content in found.items():
            self._keep(file, name, content)
        return found


def requirements(metadata: bytes, file: File) -> tuple[Requirement, ...]:
    """The Requires-Dist of a METADATA file."""
    lines = _fields(metadata).get_all("Requires-Dist") or []
    try:
        return tuple(Requirement(str(line)) for line in lines)
    except InvalidRequirement as error:
        raise RefreshError(
            f"{shown(file.url)} requires what cannot be read: {str(error).splitlines()[0]}."
            " Look at its METADATA."
        ) from error


def pinned(requires: Iterable[Requirement], name: str, platform: str) -> str | None:
    """The version that is required with `==`, on one of our platforms and without extras."""
    system, _, machine = platform.partition("-")
    environment = {**SYSTEMS[system], "platform_machine": machine, "extra": ""}
    for one in requires:
        if one.name == name and (one.marker is None or one.marker.evaluate(environment)):
            for pin in one.specifier:
                if pin.operator == "==":
                    return pin.version
    return None


def requires_python(metadata: bytes) -> str | None:
    """The Requires-Python of a METADATA file."""
    found = _fields(metadata)["Requires-Python"]
    return str(found).strip() if found else None


def compute_platform(version_py: bytes, file: File) -> str | None:
    """What a version.py says: `__version__ = "2.14.1+cu130"`, or the toolkit; cpu without both.

    None: it says nothing, because there is none, or what is no compute platform.
    """
    found = _said(version_py, file) if version_py else ""
    return found if PLATFORM.fullmatch(found) else None


def _said(version_py: bytes, file: File) -> str:
    values = _constants(version_py, file)
    version, cuda, hip = (str(values.get(name) or "") for name in ("__version__", "cuda", "hip"))
    if local := version.partition("+")[2]:
        return local
    if cuda:
        return CUDA.sub(r"cu\1\2", cuda)
    if hip:
        return "rocm" + ".".join(hip.split(".")[:2])
    return "xpu" if values.get("xpu") else "cpu"


def _fields(metadata: bytes) -> Message:
    return BytesParser(policy=compat32).parsebytes(metadata, headersonly=True)


def _constants(source: bytes, file: File) -> dict[str, object]:
    """The names that a module's top level gives a constant."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise RefreshError(
            f"version.py in {shown(file.url)} is no Python. Look into that wheel."
        ) from error
    found: dict[str, object] = {}
    for node in body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    found[target.id] = node.value.value
    return found
