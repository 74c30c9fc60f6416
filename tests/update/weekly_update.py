"""A project whose weekly update is tried: with a host that has its repository and an API."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from base64 import b64encode
from copy import copy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from render.projects import git

BRANCH = "template-update/2.0.0"
COPIER = Path(sys.executable).with_name("copier")


class Host(ThreadingHTTPServer):
    """GitHub and GitLab on loopback: a git server that asks for the token, and their requests."""

    daemon_threads = True

    def __init__(self, remote: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.remote = remote
        git(remote, "config", "http.receivepack", "true")
        self.state = ""  # of the one request that there is, if any
        self.asked: list[str] = []
        self.request: dict[str, Any] = {}
        self.redirect = ""  # where all that the token is for has gone
        self.headers: list[str] = []  # whatever anybody has sent

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Host:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Answers(BaseHTTPRequestHandler):
    """What it answers."""

    server: Host

    def do_GET(self) -> None:
        self.server.headers.append(str(self.headers))
        if self.server.redirect:
            self.send_response(307)
            self.send_header("Location", self.server.redirect + self.path)
            self.end_headers()
        elif self.path.startswith("/org/project.git/"):
            self.git()
        elif "secret" not in str(self.headers):
            self.answer(403, {})
        elif self.command == "POST":
            self.server.asked.append("create")
            self.server.request = json.loads(self.body())
            self.server.state = "opened"
            self.answer(
                201, {"html_url": "https://example.com/1", "web_url": "https://example.com/1"}
            )
        else:
            self.server.asked.append("list")
            assert parse_qs(urlsplit(self.path).query)["state"] == ["all"]
            state, merged = self.server.state, None
            if "/repos/" in self.path and state:
                state, merged = ("open" if state == "opened" else "closed"), state == "merged"
            self.answer(200, [{"state": state, "merged_at": merged}] if state else [])

    do_POST = do_GET  # noqa: N815

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def answer(self, status: int, data: object) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(data).encode())

    def git(self) -> None:
        """git's own server."""
        logins = [b64encode(f"{name}:secret".encode()) for name in ("x-access-token", "oauth2")]
        if self.headers["Authorization"] not in [f"Basic {login.decode()}" for login in logins]:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.removeprefix("/org/project.git").partition("?")
        done = subprocess.run(
            ["git", "http-backend"],
            input=self.body() if self.command == "POST" else b"",
            env={
                **os.environ,
                "GIT_PROJECT_ROOT": str(self.server.remote),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
                "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
                "CONTENT_TYPE": self.headers["Content-Type"] or "",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": "token",
            },
            capture_output=True,
            check=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        lines = [line.partition(": ") for line in head.decode().splitlines()]
        status = [int(value[:3]) for name, _, value in lines if name == "Status"]
        self.send_response((status or [200])[0])
        for name, _, value in lines:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


class WeeklyUpdate:
    """The project, and the steps of its workflow."""

    host: Host

    def __init__(self, project: Path, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.report = folder / "report"
        self.remote = folder / "remote.git"
        self.environment: dict[str, str] = {}
        git(folder, "init", "--quiet", "--bare", str(self.remote))
        git(project, "remote", "add", "origin", str(self.remote))
        git(project, "push", "--quiet", "origin", "main")

    def copy_to(self, folder: Path) -> WeeklyUpdate:
        """All of it in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        copied = copy(self)
        copied.project, copied.folder = folder / self.project.name, folder
        copied.report, copied.remote = folder / "report", folder / "remote.git"
        copied.environment = {}
        git(copied.project, "remote", "set-url", "origin", str(copied.remote))
        return copied

    def command(self, step: str, *more: str) -> list[str]:
        name = {"prepare": "template_update.py", "publish": "template_publish.py"}[step]
        step_options = [step, "--copier", str(COPIER)] if step == "prepare" else []
        script = self.project / "scripts/torch_starter" / name
        return [sys.executable, str(script), *step_options, "--report", str(self.report), *more]

    def run(self, step: str, *more: str, token: str = "") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TEMPLATE_UPDATE_TOKEN": token}
        if step == "publish" and hasattr(self, "host"):
            environment |= {
                "GITHUB_REPOSITORY": "org/project",
                "GITHUB_SERVER_URL": self.host.url,
                "GITHUB_API_URL": f"{self.host.url}/api",
                "GITHUB_REF_NAME": "main",
            }
        return subprocess.run(
            self.command(step, *more),
            cwd=self.project,
            env=environment | self.environment,
            capture_output=True,
            text=True,
        )

    def done(self, step: str, *more: str, token: str = "") -> str:
        result = self.run(step, *more, token=token)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def refused(self, step: str, *more: str, token: str = "") -> str:
        """The one line that it says when it stops."""
        result = self.run(step, *more, token=token)
        assert result.returncode == 1, result.stdout + result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
        return result.stderr

    @property
    def ready(self) -> dict[str, object]:
        text = (self.report / "pull-request.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    def pushed(self, branch: str = BRANCH) -> bool:
        return branch in git(self.remote, "branch", "--list", branch)


def amend(project: Path) -> None:
    """Repair the branch that is checked out, in the commit that is there."""
    (project / "repaired.txt").write_text("by hand\n", encoding="utf-8")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--amend", "--no-edit")


def as_fleet(project: Path) -> None:
    """Replace the branch that is checked out by one with the same title, of tools/fleet.py."""
    git(project, "reset", "--quiet", "--hard", "main")
    title = ["--message", "Update the template to 2.0.0", "--message", "Changed: torch."]
    git(project, "commit", "--quiet", "--allow-empty", *title)
