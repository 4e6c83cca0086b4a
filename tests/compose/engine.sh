#!/usr/bin/env bash
# A Docker engine for the tests of the stack, on a Debian 12 machine that has none and reaches no image registry: Debian's engine
# started for it, compose and buildx of Debian 13, and stand-ins for the base images (stand-ins/Dockerfile). As root.
#   engine.sh start DIR   prints the environment of its clients
#   engine.sh stop DIR    stops it; images stay in DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd) verb=${1:?start or stop} base=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
export DOCKER_HOST=unix://$base/docker.sock DOCKER_CONFIG=$base/config

start_engine() {
  command -v dockerd debootstrap >/dev/null ||
    { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends docker.io debootstrap iptables >/dev/null; }
  setsid nohup dockerd --data-root "$base/data" --exec-root "$base/exec" --host "$DOCKER_HOST" --pidfile "$base/dockerd.pid" \
    --storage-driver overlay2 >"$base/dockerd.log" 2>&1 </dev/null &
  for _ in $(seq 60); do docker info >/dev/null 2>&1 && return; sleep 0.5; done
  tail -n 5 "$base/dockerd.log" >&2
  echo "engine.sh: dockerd did not start: see $base/dockerd.log" >&2
  exit 1
}

mirror() { # CODENAME; the one that this machine uses
  apt-get indextargets --format '$(SITE)' 'Identifier: Packages' "Codename: $1" | sort -u | head -n 1
}

fetch_plugins() { # compose 2 and buildx, which Debian 12 does not have; they need its C library only
  [ -x "$DOCKER_CONFIG/cli-plugins/docker-compose" ] && return
  local apt=$base/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$DOCKER_CONFIG/cli-plugins"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror bookworm) trixie main" >"$apt/sources.list"
  local options=(-qq -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
    -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update
  (cd "$apt" && apt-get "${options[@]}" download docker-compose docker-buildx && for package in *.deb; do dpkg-deb -x "$package" unpacked; done)
  find "$apt/unpacked" -path '*cli-plugins/docker-*' -type f -exec cp {} "$DOCKER_CONFIG/cli-plugins/" \;
}

make_debian() { # SUITE PACKAGES
  ! docker image inspect "localhost/debian:$1" >/dev/null 2>&1 || return 0
  local root=$base/rootfs-$1
  [ -d "$root/etc" ] || debootstrap --variant=minbase "--include=$2" "$1" "$root" >&2
  echo "deb $(mirror bookworm-security) $1-security main" >>"$root/etc/apt/sources.list"
  # A machine behind a proxying registry has authorities of its own.
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  tar -C "$root" -c . | docker import -c "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" \
    -c "ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt" - "localhost/debian:$1" >&2
  rm -rf "$root"
}

make_stand_ins() { # TAG TARGET…: those that are missing
  make_debian bookworm python3,python3-venv,python3-pip,ca-certificates
  make_debian trixie ca-certificates
  mkdir -p "$base/context" && cp "$here"/stand-ins/* "$base/context/"
  rm -rf "$base/context/hadoop" && mkdir "$base/context/hadoop"
  cp -r "$("$here/../../tools/hdfs.sh" jars "$base/hdfs")" "$base/context/hadoop/jars"
  for page in hdfs secondary datanode static; do
    mkdir -p "$base/context/hadoop/web/webapps/$page/WEB-INF"
    echo '<web-app version="3.1" xmlns="http://xmlns.jcp.org/xml/ns/javaee"/>' >"$base/context/hadoop/web/webapps/$page/WEB-INF/web.xml"
  done
  while [ $# -gt 0 ]; do
    echo "No registry here: $1 is a stand-in made from Debian's packages" >&2
    docker buildx build --quiet --target "$2" --tag "$1" "$base/context" >&2
    shift 2
  done
}

image() { sed -n "s/.*\${$1:-\([^}]*\)}.*/\1/p" "$here/../../docker-compose.yaml" | head -1; }

case $verb in
start)
  start_engine
  fetch_plugins
  make_stand_ins "$(image PYTHON_IMAGE)" python "$(image DEBIAN_IMAGE)" debian "$(image HADOOP_IMAGE)" hadoop
  printf 'DOCKER_HOST=%s\nDOCKER_CONFIG=%s\n' "$DOCKER_HOST" "$DOCKER_CONFIG"
  ;;
stop)
  [ ! -f "$base/dockerd.pid" ] || { kill "$(cat "$base/dockerd.pid")" && while [ -f "$base/dockerd.pid" ]; do sleep 0.2; done; }
  ! mountpoint -q "$base/data" || umount --lazy "$base/data" # dockerd leaves it mounted on itself, and some of its processes end a little later
  ;;
*) echo "expected start or stop, found $verb" >&2; exit 2 ;;
esac
