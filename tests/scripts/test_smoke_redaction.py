"""What the redactor takes out of a text, and what it leaves."""

import time

import pytest

from scripts.smoke_helpers import load_package


def test_the_redactor_keeps_what_only_looks_like_a_host() -> None:
    redact = load_package("redaction").Redactor({"HOSTNAME": "n1.cluster.example.edu"})
    kept = "https://download.pytorch.org/whl nvidia-curand-cu12==10.3.5.147 http://localhost:1/x "
    kept += "file:///opt/x https://github.com/org/x GPU-5a0d8ce01 GPU-1 torch:// gcc@11.4.0 "
    kept += "nvidia-curand-cu12    10.3.5.147 libcurand.so.10.3.5.147 10.0.22631.4317 /usr//lib "
    kept += "C:\\a\\b C:\\\\a\\\\b \\\\?\\C:\\x 0000:fde0:00:00.0 torch @ file:///x x/y@v1.2 "
    kept += "a.py:12: d.py"
    assert redact(kept) == kept
    for row in ("gh:org/x", "git@github.com:org/x.git", "C:\\x\\y"):
        assert redact(f"_src_path: {row}") == f"_src_path: {row}"
    assert redact("login-2.cluster.example.edu:22 and n1") == "<host>:22 and n1"
    assert redact("bob@n1, http://repo.local/x, http://bob@gitlab/x") == (
        "bob@<host>, http://<host>/x, http://<hidden>@<host>/x"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("_src_path: erika@buildbox:/srv/git/x", "_src_path: <user>@<host>:/srv/git/x"),
        ("_src_path: buildbox:/srv/git/x", "_src_path: <host>:/srv/git/x"),
        ("_src_path: git@git.acme.example:org/x", "_src_path: git@<host>:org/x"),
        ("_src_path: 192.168.3.4:/srv/x", "_src_path: <host>:/srv/x"),
        ("/net/nfs17/x /afs/acme.example/user/o/otto", "/net/<host>/x /afs/<host>/user/o/<user>"),
        ("\\\\fs01\\users\\erika\\x", "\\\\<host>\\users\\<user>\\x"),
        ('"\\\\\\\\fs01\\\\data\\\\x"', '"\\\\\\\\<host>\\\\data\\\\x"'),
        ("\\\\wsl$\\Ubuntu\\home\\otto", "\\\\wsl$\\Ubuntu\\home\\<user>"),
        ("in C:\\Users\\Peter Meier\\x is", "in C:\\Users\\<user>\\x is"),
        ("in C:\\Users\\Peter is", "in C:\\Users\\<user> is"),
        ("/data/users/franz/x /u/karl", "/data/users/<user>/x /u/<user>"),
        ("/export/home/otto", "/export/home/<user>"),
        ("from 10.0.0.4 to 100.64.2.3:80, 169.254.1.2", "from <host> to <host>:80, <host>"),
        ("at [fd00:1::1]:80, fe80::1%eth0", "at <host>:80, <host>"),
        ("at fd12:3:4:5:6:7:8:9", "at <host>"),
        ("https://[2001:db8::1]/x", "https://<host>/x"),
        ("from otto@acme.example", "from <user>@<host>"),
        ("to node4.acme.example and node18:29500", "to <host> and <host>:29500"),
        ("https://bob:1234/abcdef@h.example/x", "https://<hidden>@<host>/x"),
        ('https://bob:a"bcdef@h.example', "https://<hidden>@<host>"),
        ("https://bob:sec ret@h.example", "https://<hidden>@<host>"),
        ("https://h.example:8443/x@v1 y", "https://<host>:8443/x@v1 y"),
        ("https://github.com/x?pw=s3&a=1", "https://github.com/x?pw=<hidden>&a=1"),
        ("?a=1&X-Amz-Credential=AK%2F", "?a=1&X-Amz-Credential=<hidden>"),
        ("Server=x;pwd=s3cret; password=s3cret", "Server=x;pwd=<hidden>; password=<hidden>"),
        ("AKIAIOSFODNN7EXAMPLE.", "<hidden>."),
        ("https://pytorch.org. https://github.com.x.example", "https://pytorch.org. https://<host>"),
        ("Authorization: Bearer s3cret-s3cret", "Authorization: Bearer <hidden>"),
    ],
)  # fmt: skip
def test_the_redactor_takes_out(text: str, shown: str) -> None:
    assert load_package("redaction").Redactor({"HOSTNAME": "node17"})(text) == shown


@pytest.mark.parametrize(
    "begin",
    ["nvapi-", "glptt-", "glpat-", "sk-", "sk-proj-", "dckr_pat_", "npm_", "ghp_", "github_pat_",
     "hf_", "pypi-", "xoxb-", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOi"],
)  # fmt: skip
def test_a_token_is_known_by_its_begin(begin: str) -> None:
    redact = load_package("redaction").Redactor({})
    assert redact(f"with {begin}{'aB3-' * 6}, or") == "with <hidden>, or"


def test_the_redactor_takes_no_time_whatever_is_in_a_line() -> None:
    redact = load_package("redaction").Redactor({"HOSTNAME": "node17.acme.example"})
    begin = time.process_time()
    for part in (
        "a-",
        "&",
        "token",
        "/",
        "https://a:b",
        "a@",
        "10.0.",
        "fd00:",
        "a.b.",
        "C:\\Users\\a b",
    ):
        assert len(redact(f"TORCH_X={part * 50_000}")) < 10_000
    password = redact(f"PIP_X={'x' * 3_980} https://bob:{'s3cret' * 20}@h.example")
    assert "s3cret" not in password
    assert time.process_time() - begin < 10
