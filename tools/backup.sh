#!/usr/bin/env bash
# Everything that the stack keeps, as one folder: each volume as a compressed tar file, the secrets that open them, the settings.
#   tools/backup.sh save DIR       into a new folder; stops the stack for as long as it takes, so that all is of one moment
#   tools/backup.sh restore DIR    into a stack that is down, replacing what its volumes hold
#   tools/backup.sh nightly DIR N  saves into DIR/TIME, then deletes all but the newest N that were saved to their end; for cron
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { printf '%s\n' "$*" >&2; exit 1; }
usage="expected: tools/backup.sh save DIR | restore DIR | nightly DIR N"
verb=${1:?$usage} folder=${2:?$usage}
case $verb in
save) mkdir -p "$folder" ;;
restore) [ -d "$folder" ] || fail "$folder is no folder" ;;
nightly)
  [[ ${3:-} =~ ^[1-9][0-9]*$ ]] || fail "$usage, with N from 1 on"
  mkdir -p "$folder" && folder=$(cd "$folder" && pwd)
  "$0" save "$folder/$(date --utc +%Y-%m-%dT%H%M%SZ)"
  # Names are times, so that their order is that of time; a folder without secrets was not saved to its end.
  for each in "$folder"/20*Z; do [ ! -d "$each/secrets" ] || echo "$each"; done | sort | head -n "-$3" | xargs --no-run-if-empty rm -r --
  exit ;;
*) fail "$usage" ;;
esac
folder=$(cd "$folder" && pwd)
project=$(docker compose config --format json | sed -n 's/^  "name": "\(.*\)",\?$/\1/p') # the one that compose means, as in COMPOSE_PROJECT_NAME
[ -n "$project" ] || fail "docker compose config does not tell the project's name: compose 2.20 or newer is needed."
volumes=$(docker compose config --volumes | sort)
image=$(docker compose config --images postgres | grep -m 1 ctr-postgres)
docker image inspect "$image" >/dev/null 2>&1 || fail "There is no image $image, whose tar reads and writes the volumes: \`docker compose build postgres\` first."

in_volume() { # VOLUME COMMAND…
  docker run --rm --network none --user 0 --volume "${project}_$1:/volume" --volume "$folder:/backup" --entrypoint "$2" \
    "$image" "${@:3}"
}

# shellcheck disable=SC2086 # $running is names of services; named, those of a profile are meant too
if [ "$verb" = save ]; then
  [ -d secrets ] || fail "There is no folder secrets: nothing runs from this checkout that could be saved."
  [ -z "$(ls -A "$folder")" ] || fail "$folder is not empty: parts of two backups do not fit together. Save into a new folder."
  chmod 700 "$folder" # it will hold all secrets and data
  for volume in $volumes; do
    docker volume inspect "${project}_$volume" >/dev/null 2>&1 || fail "There is no volume ${project}_$volume: the stack $project never ran to its end here."
  done
  running=$(docker compose ps --services --status running --status restarting)
  if [ -n "$running" ]; then
    trap 'docker compose up --detach --no-build --no-recreate --wait $running' EXIT # also where saving fails
    docker compose stop $running
  fi
  for volume in $volumes; do in_volume "$volume" tar --create --gzip --numeric-owner --file "/backup/$volume.tar.gz" --directory /volume .; done
  cp -a settings secrets "$folder/" # last: a folder without secrets was not saved to its end
  du -sh "$folder"
else
  [ -z "$(docker compose ps --all --quiet)" ] || fail "The stack $project is there: \`make down\` first."
  # All of it must be there and readable before anything is replaced.
  [ -d "$folder/secrets" ] || fail "$folder holds no folder secrets: it was not saved to its end."
  for volume in $volumes; do
    [ -f "$folder/$volume.tar.gz" ] || fail "$folder holds no $volume.tar.gz: expected one for each volume."
    tar --list --file "$folder/$volume.tar.gz" >/dev/null || fail "$folder/$volume.tar.gz cannot be read to its end: nothing was changed."
  done
  for each in settings secrets; do
    [ ! -e $each ] || mv $each "$each.before.$(date +%s)"
    cp -a "$folder/$each" .
  done
  for volume in $volumes; do
    docker volume rm --force "${project}_$volume" >/dev/null
    docker volume create --label "com.docker.compose.project=$project" --label "com.docker.compose.volume=$volume" "${project}_$volume" >/dev/null
    in_volume "$volume" tar --extract --gzip --numeric-owner --same-owner --file "/backup/$volume.tar.gz" --directory /volume
  done
  echo "Restored as the stack $project. \`make up\` starts it."
fi
