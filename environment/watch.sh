#!/usr/bin/env bash
# watch.sh OWNER UP DIR   stop the lab in DIR once process OWNER is gone, however it ended, and remove DIR (LAB_KEEP=1 keeps it).
# UP is the up.sh that is starting the lab: it is ended first, so that nothing starts behind our back.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd); . "$here/lib.sh"
run=$3
exec 3<> <(:)   # nothing ever comes out of it: reading it waits, as `sleep` would, without a process
# born PID   sets `born` to when it started, in the kernel's ticks: a pid can be given again. Empty for a zombie. No process is started
# for it: every lab asks twice a second.
born() { local s; born=; { read -r s < "/proc/$1/stat"; } 2>/dev/null || return 0; set -- ${s##*) }; [ "$1" = Z ] || born=${20}; }
born "$1"; owner=$born; born "$2"; up=$born
while [ -n "$owner" ] && { born "$1"; [ "$born" = "$owner" ]; } && [ -d "$run/pid" ]; do read -rt 0.5 -u 3; done
born "$2"; [ -z "$up" ] || [ "$born" != "$up" ] || kill -9 "$2" 2>/dev/null
[ -d "$run/pid" ] || exit 0
rm -f "$run/pid/watch" "$run/pid/watch.cmd"   # not ourselves
unset LAB_MEMBER
"$here/down.sh" "$run"
[ -n "${LAB_KEEP:-}" ] || rm -rf "$run"
