#!/usr/bin/env bash
# Writes the stack's generated secrets to secrets/, one file each; what is there stays. Only the owner can enter the folder; the
# files themselves can be read by whoever is in a container that one is mounted into.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p -m 700 secrets
chmod 700 secrets

random() { head -c 33 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n'; }
secret() { # NAME VALUE
  [ -s "secrets/$1" ] || printf '%s' "$2" >"secrets/$1"
  chmod 444 "secrets/$1"
}

for name in postgres_password airflow_db_password mlflow_db_password redis_password airflow_secret_key airflow_jwt_secret \
  fab_secret_key airflow_admin_password mlflow_admin_password mlflow_secret_key spark_secret; do
  secret "$name" "$(random)"
done
secret airflow_fernet_key "$(head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n')"
secret celery_broker_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
