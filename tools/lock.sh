#!/usr/bin/env bash
# Pins requirements.txt from pyproject.toml, moving only what has to move (all with --upgrade, one package with
# --upgrade-package NAME). torch is pinned without its local part (+cpu): the same lock then installs a CPU build where pip's
# find-links has one, and the registry's CUDA build, with the packages that brings, elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."
find_links=()
for place in $(.venv/bin/python -m pip config list | sed -n "s/^\(global\|install\|:env:\)\.find-links='\(.*\)'$/\2/p" | sort -u); do
  find_links+=(--find-links "$place")
done
sed -i '/^torch==/d' requirements.txt # else it would hold on to the registry's build
.venv/bin/uv pip compile --quiet --python-version 3.11 "${find_links[@]}" --all-extras --group dev --no-annotate --no-header \
  --no-emit-find-links "$@" --output-file requirements.txt pyproject.toml
sed -i 's/^\(torch==[0-9.]*\)+cpu$/\1/' requirements.txt
