#!/bin/bash
# Runs once, on an empty data folder: a database for Airflow and one for MLflow, each with an owner that sees no other.
set -euo pipefail
for name in airflow mlflow; do
  psql --username "$POSTGRES_USER" --dbname postgres -v ON_ERROR_STOP=1 -v name="$name" -v password="$(</run/secrets/${name}_db_password)" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
