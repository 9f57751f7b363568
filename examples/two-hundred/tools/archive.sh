#!/bin/sh
# Packs the manifests of the year.
tar cf "$PLANSPEC_ARTIFACTS/$1.tar" "planspec/$1"
