"""A tap whose whole behaviour is in its configuration: {"discover": ..., "lines": [...]} or one that misbehaves.

Run as a program: scripted.py --config FILE [--discover | --catalog FILE [--state FILE]].
"""

import json
import os
import subprocess
import sys
import time

arguments = dict(zip(sys.argv[1:], [*sys.argv[2:], ""], strict=True))
with open(arguments["--config"], encoding="utf-8") as file:  # noqa: PTH123
    config = json.load(file)


if "script" in config:  # what it does now, whatever its configuration was made with
    with open(config["script"], encoding="utf-8") as file:  # noqa: PTH123
        config |= json.load(file)


def tell(**message):
    print(json.dumps(message), flush=True)


SCHEMA = {
    "properties": {
        "id": {"type": "integer"},
        "v": {"type": ["null", "number"]},
        "at": {"type": "string", "format": "date-time"},
    }
}
if "--discover" in sys.argv:
    if config.get("discover") == "garbage":
        print("Welcome to the tap!")
    elif config.get("discover") == "fails":
        print("INFO connecting with secret-token-4711", file=sys.stderr)
        raise PermissionError("secret-token-4711 is wrong for jane@example.com")
    else:
        entries = [
            {"tap_stream_id": name, "stream": name, "schema": SCHEMA, "key_properties": ["id"], "metadata": []}
            for name in config.get("streams", ["rows"])
        ]
        tell(streams=entries)
    sys.exit(0)

with open(arguments["--catalog"], encoding="utf-8") as file:  # noqa: PTH123
    chosen = [entry["tap_stream_id"] for entry in json.load(file)["streams"] if entry["schema"].get("selected")]
state = {}
if "--state" in arguments:
    with open(arguments["--state"], encoding="utf-8") as file:  # noqa: PTH123
        state = json.load(file)
if "note" in config:  # what the tap saw, for the test to look at
    told = {"environ": dict(os.environ), "argv": sys.argv, "state": state, "chosen": chosen, "pid": os.getpid()}
    told["mode"] = oct(os.stat(arguments["--config"]).st_mode & 0o777)  # noqa: PTH116
    told["cwd"] = os.getcwd()  # noqa: PTH109
    with open(config["note"], "w", encoding="utf-8") as file:  # noqa: PTH123
        json.dump(told, file)
(stream,) = chosen
tell(type="SCHEMA", stream=stream, schema=SCHEMA, key_properties=["id"])
if config.get("fork"):
    child = subprocess.Popen(["sleep", "600"])
    with open(config["fork"], "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(str(child.pid))
every = config.get("state_every", 0)
start = state.get("last", 0)
for number in range(start + 1, config.get("count", 0) + 1):
    if number == config.get("hang_at"):
        time.sleep(600)
    if number == config.get("die_at"):
        print("Traceback (most recent call last):", file=sys.stderr)
        print("requests.exceptions.HTTPError: 500 for jane@example.com secret-token-4711", file=sys.stderr)
        sys.exit(3)
    if number == config.get("kill_at"):
        os.kill(os.getpid(), 9)
    tell(type="RECORD", stream=stream, record={"id": number, "v": number / 2})
    tell(type="RECORD", stream="somebody else's", record={"id": -number})
    if every and number % every == 0:
        tell(type="STATE", value={"last": number})
for line in config.get("lines", ()):
    print(line, flush=True)
if "exit" in config:
    sys.exit(config["exit"])
if config.get("state_at_end", True):
    tell(type="STATE", value={"last": config.get("count", 0)})
