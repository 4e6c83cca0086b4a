#!/bin/bash
# Ends well where an HTTP server of this container answers, whatever it says: `answers.sh PORT`. A connection alone is accepted by the
# kernel, also where the server hangs.
exec 3<>"/dev/tcp/localhost/$1" && printf 'GET /execution HTTP/1.0\r\n\r\n' >&3 && read -r -t 8 _ <&3
