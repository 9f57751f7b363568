#!/bin/sh
# build.sh PLATFORM LEVEL: stands for a build that takes a machine of its own.
echo "the site for $1, made with level $2"
