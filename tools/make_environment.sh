#!/bin/sh
# Make a virtual environment in folder $1 with the newest fitting Python, or say what is missing.
set -eu
folder=$1

fits() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null
}

for python in "${PYTHON:-python3}" python3.11 python3.12 python3.13 python3.14 python; do
    if fits "$python"; then
        # An interrupted attempt would leave half an environment behind: build beside, then move.
        rm -rf "$folder"
        if "$python" -m venv "$folder" >/dev/null 2>&1 || "$python" -m virtualenv --quiet "$folder" 2>/dev/null; then
            "$folder/bin/python" -m pip --version >/dev/null && exit 0
        fi
        rm -rf "$folder"
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        cat >&2 <<MESSAGE
flowwatch: $python can't make a virtual environment: its modules venv and ensurepip are missing.
  Debian, Ubuntu:  apt-get install python$version-venv
  elsewhere:       install your system's package for venv, or virtualenv for this Python
Then start again.
MESSAGE
        exit 1
    fi
done
echo "flowwatch: Python 3.11 or newer is needed; install it, or name it: make run PYTHON=/path/to/python3" >&2
exit 1
