#!/usr/bin/env bash
# Everything that the stack keeps, as one folder: each volume as a tar file, and the secrets that open them.
#   tools/backup.sh save DIR      stops the stack for as long as it takes, so that database, registry and lake are of one moment
#   tools/backup.sh restore DIR   into a stack that is down, replacing what its volumes hold
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { printf '%s\n' "$*" >&2; exit 1; }
usage="expected: tools/backup.sh save|restore DIR"
verb=${1:?$usage} folder=${2:?$usage}
case $verb in save) mkdir -p "$folder" && chmod 700 "$folder" ;; restore) [ -d "$folder" ] || fail "$folder is no folder" ;; *) fail "$usage" ;; esac
folder=$(cd "$folder" && pwd)
volumes=$(docker compose config --volumes | sort)
image=ctr-airflow:${CTR_VERSION:-latest}
docker image inspect "$image" >/dev/null 2>&1 || fail "There is no image $image, whose tar reads and writes the volumes: \`docker compose build init\` first."

in_volume() { # VOLUME COMMAND…
  docker run --rm --network none --user 0 --volume "ctr_$1:/volume" --volume "$folder:/backup" --entrypoint "$2" \
    "$image" "${@:3}"
}

if [ "$verb" = save ]; then
  running=$(docker compose ps --services --status running)
  [ -z "$running" ] || docker compose stop
  for volume in $volumes; do in_volume "$volume" tar --create --numeric-owner --file "/backup/$volume.tar" --directory /volume .; done
  cp -a secrets "$folder/"
  # shellcheck disable=SC2086 # names of services
  [ -z "$running" ] || docker compose up --detach --wait $running
  du -sh "$folder"
else
  [ -z "$(docker compose ps --services --status running)" ] || fail "The stack is running: \`make down\` first."
  for volume in $volumes; do [ -f "$folder/$volume.tar" ] || fail "$folder holds no $volume.tar: expected one for each volume."; done
  docker compose down
  [ -e secrets ] && mv secrets "secrets.before.$(date +%s)"
  cp -a "$folder/secrets" .
  for volume in $volumes; do
    docker volume rm --force "ctr_$volume" >/dev/null
    docker volume create --label com.docker.compose.project=ctr --label "com.docker.compose.volume=$volume" "ctr_$volume" >/dev/null
    in_volume "$volume" tar --extract --numeric-owner --same-owner --file "/backup/$volume.tar" --directory /volume
  done
  echo "Restored. \`make up\` starts it."
fi
