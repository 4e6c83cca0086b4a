#!/bin/bash
# Once a day: removes Airflow's runs and the tasks' logs that are older than KEEP_DAYS. What went wrong is tried again the next day.
set -uo pipefail
while true; do
  before=$(date --utc --date "$KEEP_DAYS days ago" +%FT%TZ)
  airflow db clean --clean-before-timestamp "$before" --skip-archive --yes &&
    find /logs -mindepth 2 -type f -mtime "+$KEEP_DAYS" -delete &&
    find /logs -mindepth 2 -type d -empty -mtime +1 -delete &&
    touch /run/airflow/done # the container is healthy for a day
  sleep 86400 &
  wait $!
done
