#!/bin/sh
# Renew the lock files from pyproject.toml: hashes of all platforms, no package host named.
set -eu
unset PIP_FIND_LINKS PIP_EXTRA_INDEX_URL PIP_INDEX_URL 2>/dev/null || true
export PIP_CONFIG_FILE=/dev/null
options="--quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-emit-index-url
    --no-emit-find-links --no-emit-trusted-host --no-emit-options"
# shellcheck disable=SC2086 - the options are words
.venv/bin/pip-compile $options --output-file requirements/run.txt pyproject.toml
# shellcheck disable=SC2086
.venv/bin/pip-compile $options --extra dev --constraint requirements/run.txt \
    --output-file requirements/dev.txt pyproject.toml
