#!/usr/bin/env bash
# Checks the manifests against the schemas of Kubernetes, strictly: an unknown field is an error.
# Installs the checker from PyPI into target/kubernetes-check. No cluster needed.
set -euo pipefail
cd "$(dirname "$0")"

venv=../../target/kubernetes-check
if ! cmp -s requirements.txt "$venv/installed.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.txt
    cp requirements.txt "$venv/installed.txt"
fi
"$venv/bin/python" check.py "${1:-1.37}"
