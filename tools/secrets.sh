#!/usr/bin/env bash
# Writes the stack's generated secrets to secrets/, one file each, and makes the folder settings; what is there stays. Only the owner can enter the folder; the
# files themselves can be read by whoever is in a container that one is mounted into.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p -m 700 secrets
mkdir -p settings # Docker would make it, as root
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
if [ ! -s secrets/tls_key ]; then # signed by itself: put one of your authority in its place
  openssl req -x509 -newkey rsa:2048 -nodes -days 825 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
    -keyout secrets/tls_key.new -out secrets/tls_certificate.new 2>/dev/null
  mv secrets/tls_certificate.new secrets/tls_certificate && mv secrets/tls_key.new secrets/tls_key
  chmod 444 secrets/tls_certificate secrets/tls_key
fi
secret celery_broker_url "redis://:$(cat secrets/redis_password)@redis:6379/0"
