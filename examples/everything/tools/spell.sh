#!/bin/sh
# Finds what is misspelt most often in an artifact.
! grep -n -e wether -e temprature "$PLANSPEC_ARTIFACTS/$1"
