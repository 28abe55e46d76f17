"""pyfivetran: its endpoints for groups, destinations, connectors and schemas. Its URLs are literals, so the transport under
its HTTP client leads elsewhere."""

import httpx
from pyfivetran.client import FivetranClient
from pyfivetran.shed import ApiError
from story import CONNECTION, GROUP, KEY, SCHEMA, SECRET, URL, expect, step, wait_for


class Elsewhere(httpx.HTTPTransport):
    def handle_request(self, request):
        there = httpx.URL(URL)
        request.url = request.url.copy_with(scheme=there.scheme, host=there.host, port=there.port)
        return super().handle_request(request)


def client(secret=SECRET):
    return FivetranClient(KEY, secret, mounts={"https://api.fivetran.com": Elsewhere()}, timeout=60)


fivetran = client()
schemas = fivetran.connector_schema_endpoint


def connector():
    return fivetran.connector_endpoint.get_connector(CONNECTION)


def ended(what, start):
    """Starts something and polls its end."""
    before = connector().succeeded_at
    expect(what, start()["code"], "Success")
    wait_for(what, lambda: connector().succeeded_at != before)


expect("group", GROUP in [group.fivetran_id for group in fivetran.group_endpoint.list_groups()], True)
group = fivetran.group_endpoint.get_group(GROUP)
listed = [one["id"] for page in group.list_connectors(schema=SCHEMA) for one in page["data"]["items"]]
expect("listed", listed, [CONNECTION])
destination = fivetran.destination_endpoint.get_destination(GROUP)
expect("destination", (destination.service, destination.run_setup_tests()["data"]["setup_status"]), ("d1", "CONNECTED"))
expect("users", len(fivetran.user_endpoint.get_users()), 1)
expect("roles", len(fivetran.role_endpoint.list_roles()), 1)
form = fivetran.connector_endpoint.get_config_metadata("postgres")["data"]["config"]
expect("form", form["properties"]["password"]["format"], "password")
expect("setup tests", connector().run_setup_tests(True, True)["data"]["status"]["setup_state"], "connected")
# Polled below is the end of what is started here, so the clock must start nothing in between.
connector().modify(sync_frequency=1440, daily_sync_time="03:00")
expect("daily", connector().daily_sync_time, "03:00")

ended("sync", lambda: connector().sync(force=True))
step("synced")

schemas.reload_connector_schema_config(CONNECTION, "PRESERVE")
tables = schemas.get_connector_schema_config(CONNECTION)["data"]["schemas"]["pyfivetran"]["tables"]
expect("tables", sorted(tables), ["customers", "orders", "refunds"])
columns = schemas.get_source_table_columns_config(CONNECTION, "pyfivetran", "orders")["data"]["columns"]
expect("columns", sorted(columns), ["currency", "id", "total"])
schemas.modify_connector_database_schema_config(CONNECTION, "pyfivetran", tables={"refunds": {"enabled": True}})
ended("second sync", lambda: connector().sync(force=True))
step("changed")

ended("re-sync of a table", lambda: schemas.resync_connector_table_data(CONNECTION, pyfivetran=["orders"]))
ended("re-sync", lambda: connector().resync())
step("resynced")

try:
    client("wrong").group_endpoint.list_groups()
except ApiError as error:
    expect("refused", "AuthFailed" in str(error), True)
else:
    raise AssertionError("a wrong secret is accepted")
