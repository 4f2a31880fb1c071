#!/usr/bin/env python3
"""Derives the table of names and types from the published description of the API.

    description.py DESCRIPTION.yaml > description-1.55.tsv

One line for each member of a body: body, member, type, and `required` or `-`. An object that is described in place
gets a name of its own, BODY.MEMBER. Paths of the API follow with the name of each parameter.
"""
import sys

import yaml

KINDS = ("Plugin", "Service", "Task", "Node", "Swarm", "Cluster", "Secret", "ConfigSpec", "Join", "Raft")
KEPT = ("PluginsInfo", "SwarmInfo")


def resolve(schema):
    """The type of a member in one word, and the schema of an object that is described in place."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        named = definitions[name]
        if named.get("type") in ("string", "integer") or "additionalProperties" in named:
            return resolve(named)
        return name, None
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return resolve(schema["allOf"][0])
    kind = schema.get("type", "object")
    if kind == "array":
        word, inner = resolve(schema.get("items") or {})
        return f"[{word}]", inner
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        word, inner = resolve(schema["additionalProperties"])
        return f"{{{word}}}", inner
    if kind == "object" and "properties" in schema:
        return None, schema
    return kind, None


def members(schema, definitions):
    """The members of an object and those of what it is made of."""
    found, required = {}, set(schema.get("required", []))
    for part in schema.get("allOf", []):
        if "$ref" in part:
            part = definitions[part["$ref"].rsplit("/", 1)[1]]
        inner, also = members(part, definitions)
        found |= inner
        required |= also
    found |= schema.get("properties") or {}
    return found, required


def write(name, schema, definitions):
    found, required = members(schema, definitions)
    later = []
    for member, described in found.items():
        word, inner = resolve(described)
        if inner is not None:
            place = f"{name}.{member}"
            word = place if word is None else word.replace("None", place)
            later.append((place, inner))
        print(name, member, word, "required" if member in required else "-", sep="\t")
    for place, inner in later:
        write(place, inner, definitions)


description = yaml.safe_load(open(sys.argv[1]))
definitions = description["definitions"]
for name, schema in definitions.items():
    if name in KEPT or not name.startswith(KINDS) and name != "Config":
        write(name, schema, definitions)
for path, methods in description["paths"].items():
    for method, operation in methods.items():
        names = [parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
        print(method.upper(), path, ",".join(names) or "-", "path", sep="\t")
        for parameter in operation.get("parameters", []):
            inner = parameter.get("schema", {})
            if parameter["in"] == "body" and "$ref" not in inner:
                write(f"{method.upper()} {path}", inner, definitions)
        for status, answer in operation["responses"].items():
            inner = answer.get("schema", {})
            if "properties" in inner:
                write(f"{method.upper()} {path} {status}", inner, definitions)
