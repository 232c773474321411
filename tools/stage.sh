#!/bin/sh
# Announce a command, run it, and say how long it took.
# Usage: tools/stage.sh "what it does" COMMAND [ARGUMENT ...]
title=$1
shift
echo "==> $title"
start=$(date +%s)
"$@"
status=$?
seconds=$(($(date +%s) - start))
if [ "$status" -eq 0 ]; then
  echo "==> $title: done in $seconds s"
else
  echo "==> $title: FAILED after $seconds s (exit status $status)" >&2
fi
exit "$status"
