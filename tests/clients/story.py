"""What every client script shares: where the service is, and the conversation with the test that started it.

A script drives its client and says `step(name, ...)` where the test should look at the destination or change the source.
The test answers one line when it is done.
"""

import json
import os
import sys
import time

URL = os.environ["FIVETRAN_URL"]
KEY = os.environ["FIVETRAN_KEY"]
SECRET = os.environ["FIVETRAN_SECRET"]
GROUP = os.environ["FIVETRAN_GROUP"]
CONNECTION = os.environ["FIVETRAN_CONNECTION"]
SCHEMA = os.environ["FIVETRAN_SCHEMA"]
"""Name of the connection, which Fivetran calls its schema."""

PATIENCE = 60
POLL = 0.3


def step(name, **data):
    """Hands over to the test and waits until it did its part."""
    print("STEP " + json.dumps({"name": name, **data}), flush=True)
    if sys.stdin.readline().strip() != "go":
        sys.exit("the test has ended")


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r} instead of {wanted!r}")


def wait_for(what, look):
    """Polls, as a scheduler would, until `look` answers something truthy."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(POLL)
    raise TimeoutError(what)
