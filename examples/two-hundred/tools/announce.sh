#!/bin/sh
# Tells everybody.
printf 'the year of %s is closed\n' "$1"
