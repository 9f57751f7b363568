#!/usr/bin/env python3
"""Sums up: the mean of the means, and the highest of all. Inputs come as JSON, with their types."""

import json
import os

with open(os.environ["PLANSPEC_INPUTS"]) as file:
    inputs = json.load(file)
means, highest = inputs["means"], inputs["highest"]
print(f"{len(means)} stations, {inputs['days']} days")
with open(os.environ["PLANSPEC_OUTPUT"], "w") as file:
    json.dump({"mean": round(sum(means) / len(means), 1), "highest": max(highest)}, file)
