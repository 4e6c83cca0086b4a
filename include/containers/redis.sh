#!/bin/bash
# Redis, with its password in no argument.
set -euo pipefail
exec redis-server - <<CONFIG
requirepass $(</run/secrets/redis_password)
appendonly yes
dir /data
maxmemory 384mb
maxmemory-policy noeviction
CONFIG
