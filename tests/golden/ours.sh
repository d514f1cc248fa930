#!/bin/sh
# What etcd's own tools print, case by case: our client on our server.
exec "$(dirname "$0")/run.py" --client . --server ./etcd
