"""A tap that asks a server for each record and tells so: {"url", "count", "metric", "pause"}; its state is the last.

Run as a program: asking.py --config FILE [--discover | --catalog FILE [--state FILE]].
"""

import json
import sys
import time
import urllib.request

arguments = dict(zip(sys.argv[1:], [*sys.argv[2:], ""], strict=True))
with open(arguments["--config"], encoding="utf-8") as file:  # noqa: PTH123
    config = json.load(file)


def tell(**message):
    print(json.dumps(message), flush=True)


if "--discover" in sys.argv:
    tell(streams=[{"tap_stream_id": "rows", "stream": "rows", "schema": {}, "key_properties": ["id"], "metadata": []}])
    sys.exit(0)
state = {}
if "--state" in arguments:
    with open(arguments["--state"], encoding="utf-8") as file:  # noqa: PTH123
        state = json.load(file)
for number in range(state.get("last", 0) + 1, config["count"] + 1):
    time.sleep(config.get("pause", 0))
    with urllib.request.urlopen(f"{config['url']}?n={number}", timeout=30) as answer:
        answer.read()
    if config.get("metric", True):
        told = {"type": "timer", "metric": "http_request_duration", "value": 0.01, "tags": {"status": "succeeded"}}
        print(f"INFO METRIC: {json.dumps(told)}", file=sys.stderr, flush=True)
    tell(type="RECORD", stream="rows", record={"id": number})
    tell(type="STATE", value={"last": number})
