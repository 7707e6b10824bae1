#!/bin/sh
# Runs in a guest: takes commands from the host, a line of base64 each, and answers with their exit
# status and output. One after the other; what must go on beside it is started with &.
export PYTHONPATH=/host/python:/site PYTHONDONTWRITEBYTECODE=1 PATH=/host/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
port=/dev/virtio-ports/agent
exec 3<>"$port"
echo "ready $(uname -r)" >&3
while IFS= read -r line <&3; do
	[ -n "$line" ] || continue
	echo "$line" | base64 -d >/run/command
	bash /run/command >/run/output 2>&1 </dev/null
	status=$?
	printf '%s %s\n' "$status" "$(base64 -w 0 /run/output)" >&3
done
