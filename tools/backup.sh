#!/usr/bin/env bash
# Everything that the stack keeps, as one folder: each volume as a tar file, and the secrets that open them.
#   tools/backup.sh save DIR      into a new folder; stops the stack for as long as it takes, so that all is of one moment
#   tools/backup.sh restore DIR   into a stack that is down, replacing what its volumes hold
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { printf '%s\n' "$*" >&2; exit 1; }
usage="expected: tools/backup.sh save|restore DIR"
verb=${1:?$usage} folder=${2:?$usage}
case $verb in save) mkdir -p "$folder" ;; restore) [ -d "$folder" ] || fail "$folder is no folder" ;; *) fail "$usage" ;; esac
folder=$(cd "$folder" && pwd)
volumes=$(docker compose config --volumes | sort)
image=$(docker compose config --images init | grep -m 1 ctr-airflow)
docker image inspect "$image" >/dev/null 2>&1 || fail "There is no image $image, whose tar reads and writes the volumes: \`docker compose build init\` first."

in_volume() { # VOLUME COMMAND…
  docker run --rm --network none --user 0 --volume "ctr_$1:/volume" --volume "$folder:/backup" --entrypoint "$2" \
    "$image" "${@:3}"
}

# shellcheck disable=SC2086 # $running is names of services; named, those of a profile are meant too
if [ "$verb" = save ]; then
  [ -d secrets ] || fail "There is no folder secrets: nothing runs from this checkout that could be saved."
  [ -z "$(ls -A "$folder")" ] || fail "$folder is not empty: parts of two backups do not fit together. Save into a new folder."
  chmod 700 "$folder" # it will hold all secrets and data
  running=$(docker compose ps --services --status running --status restarting)
  if [ -n "$running" ]; then
    trap 'docker compose up --detach --no-build --no-recreate --wait $running' EXIT # also where saving fails
    docker compose stop $running
  fi
  for volume in $volumes; do in_volume "$volume" tar --create --numeric-owner --file "/backup/$volume.tar" --directory /volume .; done
  cp -a secrets "$folder/" # last: a folder without them was not saved to its end
  du -sh "$folder"
else
  [ -z "$(docker compose ps --all --quiet)" ] || fail "The stack is there: \`make down\` first."
  # All of it must be there and readable before anything is replaced.
  [ -d "$folder/secrets" ] || fail "$folder holds no folder secrets: it was not saved to its end."
  for volume in $volumes; do
    [ -f "$folder/$volume.tar" ] || fail "$folder holds no $volume.tar: expected one for each volume."
    tar --list --file "$folder/$volume.tar" >/dev/null || fail "$folder/$volume.tar cannot be read to its end: nothing was changed."
  done
  [ -e secrets ] && mv secrets "secrets.before.$(date +%s)"
  cp -a "$folder/secrets" .
  for volume in $volumes; do
    docker volume rm --force "ctr_$volume" >/dev/null
    docker volume create --label com.docker.compose.project=ctr --label "com.docker.compose.volume=$volume" "ctr_$volume" >/dev/null
    in_volume "$volume" tar --extract --numeric-owner --same-owner --file "/backup/$volume.tar" --directory /volume
  done
  echo "Restored. \`make up\` starts it."
fi
