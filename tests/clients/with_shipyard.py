"""shipyard-fivetran: its client. Its base URL is a literal, so the function under it leads elsewhere."""

import requests
import shipyard_fivetran.fivetran
from shipyard_fivetran import FivetranClient
from shipyard_templates import ExitCodeException
from story import CONNECTION, KEY, POLL, SCHEMA, SECRET, URL, expect, step, wait_for


def elsewhere(method, url, **options):
    return requests.request(method, url.replace("https://api.fivetran.com", URL), **options)


shipyard_fivetran.fivetran.request = elsewhere
client = FivetranClient(KEY, SECRET)

expect("connection test", client.connect(), 0)
expect("name", client.get_connector_details(CONNECTION)["schema"], SCHEMA)
client.update_connector(CONNECTION, schedule_type="manual", paused=False)
expect("schedule", client.get_connector_details(CONNECTION)["schedule_type"], "manual")

client.trigger_sync(CONNECTION, wait_for_completion=True, poke_interval=POLL)
expect("state", client.determine_sync_status(CONNECTION), "scheduled")
step("synced")

client.trigger_sync(CONNECTION, wait_for_completion=True, poke_interval=POLL)
step("changed")

before = client.get_connector_details(CONNECTION)["succeeded_at"]
client.update_connector(CONNECTION, additional_details={"is_historical_sync": True})
wait_for("re-sync", lambda: client.get_connector_details(CONNECTION)["succeeded_at"] != before)
step("resynced")

for told, attempt in (
    ("does not exist", lambda: client.trigger_sync("none")),
    ("Invalid authorization", lambda: FivetranClient(KEY, "wrong").get_connector_details(CONNECTION)),
):
    try:
        attempt()
    except ExitCodeException as error:
        expect("refused", told in str(error), True)
    else:
        raise AssertionError(f"{told} is not said")
