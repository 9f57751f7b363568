#!/usr/bin/env python3
"""sbom.py FILE: writes what the program is made of, as CycloneDX 1.5, from Cargo.lock alone and in the same order each time."""

import hashlib
import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def component(package):
    name, version = package["name"], package["version"]
    purl = f"pkg:cargo/{name}@{version}"
    found = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    if checksum := package.get("checksum"):
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def reference(packages, dependency):
    # As Cargo.lock has it: the name, and the version where there are several of that name.
    name, _, version = dependency.partition(" ")
    wanted = [p for p in packages if p["name"] == name and version.split(" ")[0] in ("", p["version"])]
    return component(wanted[0])["bom-ref"]


def main():
    text = (ROOT / "Cargo.lock").read_bytes()
    packages = tomllib.loads(text.decode())["package"]
    (program,) = [package for package in packages if package["name"] == "planspec"]
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        # No time and no number drawn: whoever builds the same commit gets the same file.
        "metadata": {
            "component": component(program) | {"type": "application"},
            "properties": [{"name": "planspec:cargo-lock-sha256", "value": hashlib.sha256(text).hexdigest()}],
        },
        "components": [component(package) for package in packages if package is not program],
        "dependencies": [
            {
                "ref": component(package)["bom-ref"],
                "dependsOn": sorted(reference(packages, other) for other in package.get("dependencies", [])),
            }
            for package in packages
        ],
    }
    Path(sys.argv[1]).write_text(json.dumps(bom, indent=2) + "\n")


main()
