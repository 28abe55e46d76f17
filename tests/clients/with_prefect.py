"""prefect-fivetran: its tasks. Its URLs are literals, so the transport under its HTTP client leads elsewhere."""

import asyncio
import functools

import httpx
import prefect_fivetran.clients
from prefect.logging import disable_run_logger
from prefect_fivetran import FivetranCredentials
from prefect_fivetran.connectors import (
    set_fivetran_connector_schedule,
    start_fivetran_connector_sync,
    verify_fivetran_connector_status,
    wait_for_fivetran_connector_sync,
)
from story import CONNECTION, KEY, POLL, SCHEMA, SECRET, URL, expect, step


class Elsewhere(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request):
        there = httpx.URL(URL)
        request.url = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)
        return await super().handle_async_request(request)


prefect_fivetran.clients.AsyncClient = functools.partial(
    httpx.AsyncClient, mounts={"https://api.fivetran.com": Elsewhere()}
)
login = {"connector_id": CONNECTION, "fivetran_credentials": FivetranCredentials(api_key=KEY, api_secret=SECRET)}


async def sync():
    """What the flow `trigger_fivetran_connector_sync_and_wait_for_completion` runs, without Prefect's server."""
    await set_fivetran_connector_schedule.fn(schedule_type="manual", **login)
    since = await start_fivetran_connector_sync.fn(**login)
    done = await wait_for_fivetran_connector_sync.fn(previous_completed_at=since, poll_status_every_n_seconds=POLL, **login)
    expect("connector", done["connector_id"], CONNECTION)


async def main():
    details = await verify_fivetran_connector_status.fn(**login)
    expect("name", details["schema"], SCHEMA)
    await sync()
    details = await verify_fivetran_connector_status.fn(**login)
    expect("schedule", details["schedule_type"], "manual")
    step("synced")
    await sync()
    step("changed")
    # This client has no call for a re-sync. What is gone is marked by the test's own.
    step("resynced")


with disable_run_logger():
    asyncio.run(main())
