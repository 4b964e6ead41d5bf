#!/usr/bin/env python3
"""The schema of definitions as another validator understands it, and as the API's document repeats it.
Usage: definition_test.py NAGAYA openapi.yaml"""
import json
import subprocess
import sys

import jsonschema
import yaml

nagaya, openapi = sys.argv[1:3]
schema = json.loads(subprocess.run([nagaya, "schema"], check=True, capture_output=True).stdout)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
failures = 0


def check(ok, what):
    global failures
    if not ok:
        failures += 1
        print("FAILED", what)


GOOD = """
kind: container
name: web
image: debian
limits: {memory: 512M, cpus: 1.5, pids: -1}
restart: {policy: "no"}
---
kind: vm
name: m
image: debian
hardware: {disks: [{path: /d, format: qcow2}]}
---
{kind: network, name: lab, driver: bridge, subnet: 10.1.0.0/24}
---
{kind: volume, name: data, labels: {a: b}}
"""
BAD = ["{kind: container, name: web}", "{kind: pod, name: a, image: b}", "{kind: container, name: -a, image: b}", "{kind: container, name: a, image: b, engine: kvm}",
       "{kind: vm, name: a, image: b, capAdd: [ALL]}", "{kind: vm, name: a, image: b, limits: {memory: 5X}}", "{kind: vm, name: a, image: b, limits: {memory: -1}}",
       "{kind: network, name: a, mtu: 70000}", "{kind: volume, name: a, size: 5}", "{kind: vm, name: a, image: b, hardware: {disks: [{format: raw}]}}"]


def ours(text):
    # Nothing is made: a dry run of a folder of its own.
    done = subprocess.run([nagaya, "apply", "-f", "-", "--dry-run"], input=text, capture_output=True, text=True, timeout=60)
    return done.returncode == 0, done.stderr


for document in yaml.safe_load_all(GOOD):
    check(validator.is_valid(document), f"{document} is valid")
    ok, said = ours(yaml.safe_dump(document))
    check(ok, f"{document}: {said}")
for text in BAD:
    check(not validator.is_valid(yaml.safe_load(text)), f"{text} is not valid")
    check(not ours(text)[0], f"{text} is refused")

# The API takes the same fields.
with open(openapi, encoding="utf-8") as file:
    parts = yaml.safe_load(file)["components"]["schemas"]


def same(api, here, where):
    here = json.loads(json.dumps(here))
    if here.get("type") == ["integer", "string"]:
        # Texts such as 512M are numbers when they come to the API.
        here["type"] = "integer"
        del here["maxLength"], here["pattern"]
        here["description"] = here["description"].replace("Bytes, or a text such as 512M", "Bytes")
    moved = json.loads(json.dumps(here).replace("#/$defs/", "#/components/schemas/"))
    check(api == moved, f"{where}: {api} in the API, {moved} in the schema")


fields = {}
for kind in ("Container", "Machine"):
    fields.update({name: part for name, part in schema["$defs"][kind]["properties"].items() if name != "kind"})
check(set(fields) == set(parts["Definition"]["properties"]) - {"kind"}, "fields of domains")
for name, part in fields.items():
    same(parts["Definition"]["properties"].get(name), part, name)
for name in ("Limits", "Hardware", "Restart"):
    for field, part in schema["$defs"][name]["properties"].items():
        same(parts[name]["properties"].get(field), part, f"{name}.{field}")
for name in ("Network", "Volume"):
    same(parts[name + "Definition"]["properties"], schema["$defs"][name]["properties"], name)
print(f"{len(BAD)} wrong documents, {len(fields)} fields, {failures} failures")
sys.exit(1 if failures else 0)
