"""dagster-fivetran: its workspace loader and its client, whose base URL is a constant of the module."""

import dagster_fivetran.resources as resources
from dagster import Failure
from dagster_fivetran import FivetranWorkspace
from story import CONNECTION, GROUP, KEY, POLL, SCHEMA, SECRET, PATIENCE, URL, expect, step

resources.FIVETRAN_API_BASE = URL


def workspace(secret=SECRET):
    return FivetranWorkspace(account_id="acme", api_key=KEY, api_secret=secret, request_max_retries=0)


def tables_and_columns(data):
    """Assets as Dagster would show them: destination table -> columns."""
    tables = data.schema_configs_by_connector_id[CONNECTION].schemas
    return {
        table.name_in_destination: sorted(table.columns or {})
        for schema in tables.values()
        for table in schema.tables.values()
    }


data = workspace().fetch_fivetran_workspace_data()
connector = data.connectors_by_id[CONNECTION]
expect("name", connector.name, SCHEMA)
expect("service", connector.service, "postgres")
expect("group", connector.group_id, GROUP)
expect("connected", connector.is_connected, True)
expect("destination", data.destinations_by_id[GROUP].id, GROUP)
expect("tables", sorted(tables_and_columns(data)), ["customers", "orders"])

client = workspace().get_client()
# What `sync_and_poll` of an asset does; it polls for `max(succeeded_at, failed_at)` to grow.
output = client.sync_and_poll(CONNECTION, poll_interval=POLL, poll_timeout=PATIENCE)
expect("schedule", output.connector_details["schedule_type"], "manual")
step("synced")

output = client.sync_and_poll(CONNECTION, poll_interval=POLL, poll_timeout=PATIENCE)
expect("succeeded", output.connector_details["succeeded_at"] is not None, True)
expect("tables", sorted(tables_and_columns(workspace().fetch_fivetran_workspace_data())), ["customers", "orders", "refunds"])
columns = client.get_columns_config_for_table(CONNECTION, "dagster", "orders")["columns"]
expect("columns", sorted(columns), ["currency", "id", "total"])
step("changed")

client.resync_and_poll(CONNECTION, POLL, PATIENCE, resync_parameters={"dagster": ["orders"]})
client.resync_and_poll(CONNECTION, POLL, PATIENCE)
step("resynced")

specs = workspace().load_asset_specs()
expect("assets", {"customers", "orders", "refunds"} <= {spec.key.path[-1] for spec in specs}, True)
try:
    workspace(secret="wrong").get_client().get_groups()
except Failure as error:
    expect("refused", "401" in str(error), True)
else:
    raise AssertionError("a wrong secret is accepted")
