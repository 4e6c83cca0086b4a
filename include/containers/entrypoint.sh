#!/bin/bash
# Gives a container its secrets: NAME_FROM_FILE=/run/secrets/x becomes NAME with the content of that file.
set -euo pipefail
for variable in $(compgen -e); do
  if [[ $variable == *_FROM_FILE ]]; then
    file=${!variable}
    [[ -r $file ]] || { echo "$variable: $file cannot be read by uid $(id -u): expected a secret there. \`make secrets\` writes them." >&2; exit 1; }
    export "${variable%_FROM_FILE}=$(<"$file")"
    unset "$variable"
  fi
done
# Spark's drivers read it from a file only: written once, whole, as other commands in this container read it at the same time.
if [[ -n ${SPARK_SECRET:-} ]]; then
  if [[ ! -d /tmp/spark ]]; then
    folder=$(mktemp -d /tmp/spark.XXXXXX)
    cp "$SPARK_CONF_DIR"/* "$folder"
    echo "spark.authenticate.secret $SPARK_SECRET" >>"$folder/spark-defaults.conf"
    mv --no-target-directory "$folder" /tmp/spark 2>/dev/null || rm -r "$folder"
  fi
  export SPARK_CONF_DIR=/tmp/spark
  unset SPARK_SECRET
fi
# Executors reach the driver by the container's name, on whichever network they share.
export SPARK_LOCAL_HOSTNAME=${SPARK_LOCAL_HOSTNAME:-$(hostname)}
exec "$@"
