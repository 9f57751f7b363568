#!/usr/bin/env python3
"""Writes the report, which is kept as an artifact."""

import json
import os

with open(os.environ["PLANSPEC_INPUTS"]) as file:
    inputs = json.load(file)
lines = [
    f"# The weather in {inputs['month']}",
    f"It was {round(inputs['mean'])} degrees on average." + (" There was a warning." if inputs["warned"] else ""),
    inputs["forecast"],
]
with open(os.path.join(os.environ["PLANSPEC_ARTIFACTS"], "report.md"), "w") as file:
    file.write("\n\n".join(lines) + "\n")
print(f"written, in a {inputs['tone']} tone")
