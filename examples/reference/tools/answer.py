#!/usr/bin/env python3
"""Gives the outputs that its arguments name, with what the inputs say: lists for plurals, a mapping for the rest."""

import json
import os
import sys

with open(os.environ["PLANSPEC_INPUTS"]) as file:
    inputs = json.load(file)
lists = ("sources", "advice", "documents")
outputs = {name: sorted(inputs) if name in lists else inputs for name in sys.argv[1:]}
with open(os.environ["PLANSPEC_OUTPUT"], "w") as file:
    json.dump(outputs, file)
print("inputs:", ", ".join(f"{name}={json.dumps(value)}" for name, value in sorted(inputs.items())))
