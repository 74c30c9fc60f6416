#!/bin/sh
# Finds a 64-bit Python 3.10 or newer and hands over to scripts/torch_starter/bootstrap.py.
#   sh bootstrap.sh --help
# BOOTSTRAP_PYTHON=/path/to/python names the Python to start with.
set -u
unset __PYVENV_LAUNCHER__ # on macOS it would point every Python at another one

case $0 in
*/*) script=${0%/*}/scripts/torch_starter/bootstrap.py ;;
*) script=./scripts/torch_starter/bootstrap.py ;;
esac

# Judge a candidate by running it: pyenv shims and aliases exist without a Python behind them.
# A fitting one exits with 63: what is no Python may well exit with 0.
usable() {
    "$@" -I -c 'import sys; sys.exit(63 * (sys.version_info >= (3, 10) and sys.maxsize > 2**32))' \
        </dev/null >/dev/null 2>&1
    [ $? = 63 ]
}

give_up() {
    printf 'bootstrap: %s\n%s\n' "$1" "$2" >&2
    exit 3
}

# What to type for a Python on this system.
remedy() {
    # shellcheck source=/dev/null
    system=$([ -r /etc/os-release ] && . /etc/os-release && echo "${ID:-} ${ID_LIKE:-}")
    case "$(uname -s 2>/dev/null) $system " in
    Darwin*) line='brew install python@3.12' ;;
    *\ debian\ * | *\ ubuntu\ *) line='sudo apt install python3 python3-venv' ;;
    *\ fedora\ * | *\ rhel\ *) line='sudo dnf install python3' ;;
    *\ arch\ *) line='sudo pacman -S python' ;;
    *\ suse\ *) line='sudo zypper install python3' ;;
    *\ alpine\ *)
        echo 'PyTorch has no wheels for Alpine: take a system with glibc, such as python:3.12-slim.'
        return
        ;;
    *\ nixos\ *) line='nix-shell -p python3' ;;
    *) line='' ;;
    esac
    if [ -w / ]; then # root often has no sudo
        line=${line#sudo }
    fi
    if [ -n "$line" ]; then
        echo "Type: $line"
    fi
    echo 'Or install uv, or set BOOTSTRAP_PYTHON to the path of a Python. Then run this again.'
}

if [ -n "${BOOTSTRAP_PYTHON:-}" ]; then
    if usable "$BOOTSTRAP_PYTHON"; then
        exec "$BOOTSTRAP_PYTHON" -X utf8 -I "$script" "$@"
    fi
    give_up "BOOTSTRAP_PYTHON=$BOOTSTRAP_PYTHON is not a 64-bit Python 3.10 or newer." \
        "Set it to the path of one, or unset it to have one searched for."
fi

for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3 python; do
    python=$(command -v "$name") || continue
    # Without the command line tools, Apple's stub opens a dialog instead of running.
    if [ "$python" = /usr/bin/python3 ] && [ "$(uname -s)" = Darwin ]; then
        xcode-select -p >/dev/null 2>&1 || continue
    fi
    if usable "$python"; then
        exec "$python" -X utf8 -I "$script" "$@"
    fi
done

if command -v uv >/dev/null 2>&1; then
    echo "No Python 3.10 or newer on PATH: asking uv for Python 3.12."
    if usable uv run --no-project --python 3.12 python; then
        exec uv run --no-project --python 3.12 python -X utf8 -I "$script" "$@"
    fi
fi

give_up "no 64-bit Python 3.10 or newer was found on PATH." "$(remedy)"
