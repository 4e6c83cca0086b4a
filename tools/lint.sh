#!/usr/bin/env bash
# Everything that is checked without running the project; `make lint` runs it.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."
bin=.venv/bin

"$bin/ruff" check .
"$bin/ruff" format --check .
"$bin/mypy"
"$bin/lint-imports"

for file in Dockerfile*; do
  echo "hadolint: $file"
  "$bin/hadolint" "$file"
done
for file in docker-compose*.yaml; do
  "$bin/check-jsonschema" --builtin-schema vendor.compose-spec "$file"
  # What the schema cannot know, such as a service that depends on one that is not there.
  if docker compose version >/dev/null 2>&1; then docker compose --file "$file" config --quiet --no-interpolate; fi
done

"$bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yaml

"$bin/python" tools/audit_lock.py
