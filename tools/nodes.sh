# Processes of tools/hdfs.sh and tools/spark-cluster.sh, one a node, in a folder $run: NAME.pid and NAME.log. Sourced by both.
# Only processes started here are stopped, by process id.

node_runs() { [ -f "$run/$1.pid" ] && kill -0 "$(cat "$run/$1.pid")" 2>/dev/null; }

launch() { # NAME COMMAND...
  node_runs "$1" && return
  setsid nohup "${@:2}" >> "$run/$1.log" 2>&1 < /dev/null &
  echo $! > "$run/$1.pid"
}

end_node() { # SIGNAL NAME: sends it and waits until the process has gone
  local file=$run/$2.pid pid
  [ -f "$file" ] || return 0
  pid=$(cat "$file")
  kill "-$1" "$pid" 2>/dev/null || true
  for _ in $(seq 300); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
  if kill -9 "$pid" 2>/dev/null; then echo "$2 did not stop within 30 s and was killed" >&2; fi
  rm -f "$file"
}

end_all() { # SIGNAL
  local file
  for file in "$run"/*.pid; do [ ! -f "$file" ] || end_node "$1" "$(basename "$file" .pid)"; done
}

wait_until() { # SECONDS WHAT COMMAND...: polls the command; prints the end of the logs if it does not succeed in time
  local end=$((SECONDS + $1))
  until "${@:3}" > /dev/null 2>&1; do
    if [ $SECONDS -ge $end ]; then
      tail -n 5 "$run"/*.log >&2
      echo "expected $2 within $1 s, found none. Next: see $run/*.log" >&2
      return 1
    fi
    sleep 0.3
  done
}

# COUNT ports of 127.0.0.1 that nothing listens on, the same ones for this folder ever after: a node comes back where it was.
# They lie below those that the system gives to outgoing connections, which would take them while a node is down.
keep_free_ports() {
  python3 - "$1" "$run/ports" <<'PYTHON'
import random, socket, sys
from pathlib import Path

file = Path(sys.argv[2])
ports = file.read_text().split() if file.exists() else []
while len(ports) < int(sys.argv[1]):
    port = random.randrange(15000, 32000)
    with socket.socket() as probe:
        if str(port) not in ports and probe.connect_ex(("127.0.0.1", port)):
            ports.append(str(port))
file.write_text(" ".join(ports))
PYTHON
}

port() { cut -d' ' -f "$1" "$run/ports"; } # NUMBER, from 1
