#!/usr/bin/env bash
# Asks, in each of the stack's images, for updates of its distribution's security team; fails where one has some.
set -uo pipefail
cd "$(dirname "$0")/.."
status=0
images=$(docker compose config --images) || exit 1
for image in $(sort -u <<<"$images"); do
  docker image inspect "$image" >/dev/null 2>&1 || { echo "$image: NOT built here, NOT audited"; status=1; continue; }
  # shellcheck disable=SC2016 # it is the container's shell that expands
  found=$(docker run --rm --user 0 --entrypoint sh "$image" -c 'command -v apt-get >/dev/null || { echo "no apt"; exit; }
    apt-get update -qq 2>&1 >/dev/null || exit 1
    apt-get --simulate upgrade | sed -n "/^Inst .*-security/s/^Inst \([^ ]*\) \[\([^]]*\)\] (\([^ ]*\) .*/\1 \2 -> \3/p"') ||
    { echo "$image: NOT audited: the service of its distribution did not answer"; status=1; continue; }
  case $found in
  "") echo "$image: no update of the security team" ;;
  "no apt") echo "$image: NOT audited: it is not based on Debian" ;;
  *) printf '%s has updates of the security team:\n%s\n' "$image" "$found"; status=1 ;;
  esac
done
exit $status
