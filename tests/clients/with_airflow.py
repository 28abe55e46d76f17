"""airflow-provider-fivetran-async: both hooks, whose host is an attribute of the class."""

import asyncio
from urllib.parse import urlsplit

from airflow.exceptions import AirflowException
from fivetran_provider_async.hooks import Connection, FivetranHook, FivetranHookAsync
from fivetran_provider_async.utils.operator_utils import _get_table_id
from story import CONNECTION, GROUP, KEY, SCHEMA, SECRET, URL, expect, step, wait_for

FivetranHook.api_protocol = urlsplit(URL).scheme
FivetranHook.api_host = urlsplit(URL).netloc


def login(secret=SECRET):
    return Connection(conn_id="fivetran", conn_type="fivetran", login=KEY, password=secret)


hook = FivetranHook(fivetran_conn=login(), retry_limit=1)
background = FivetranHookAsync(fivetran_conn=login(), retry_limit=1)

expect("connection test", hook.test_connection(), (True, "Fivetran connection test passed"))
groups = {group["id"]: group for group in hook.get_groups()}
expect("group", hook.get_groups(GROUP)["name"], groups[GROUP]["name"])
expect("destination", hook.get_destinations(GROUP)["service"], "d1")
expect("listed", [one["id"] for one in hook.get_connectors(GROUP) if one["schema"] == SCHEMA], [CONNECTION])
expect("by name", hook.get_connector_id(SCHEMA, groups[GROUP]["name"]), CONNECTION)
expect("paused", hook.get_connector(CONNECTION)["paused"], True)


def sync(mode="sync", payload=None):
    """What FivetranOperator and its trigger do: prepare, start, poll asynchronously."""
    hook.prep_connector(CONNECTION, "manual")
    since = hook._parse_timestamp(hook.start_fivetran_sync(CONNECTION, mode=mode, payload=payload))
    state = lambda: asyncio.run(background.is_synced_after_target_time_async(CONNECTION, since)) == "success"
    wait_for(f"{mode} to end", state)
    expect("the sensor agrees", hook.is_synced_after_target_time(CONNECTION, since), True)
    expect("last sync", hook.get_last_sync(CONNECTION) > since, True)


sync()
expect("schedule", hook.get_connector(CONNECTION)["schedule_type"], "manual")
step("synced")

sync()
tables = hook.get_connector_schemas(CONNECTION)["schemas"]["airflow"]["tables"]
expect("tables", sorted(tables), ["customers", "orders", "refunds"])
# What FivetranOperator makes lineage of: it looks tables up by their names on both sides, and columns by the table's id.
objects, fields = hook.get_metadata(CONNECTION, "tables"), hook.get_metadata(CONNECTION, "columns")["items"]
for side in "source", "destination":
    orders = _get_table_id("orders", tables["orders"], objects, side)
    columns = {field[f"name_in_{side}"]: field[f"type_in_{side}"] for field in fields if field["parent_id"] == orders}
    expect(f"columns at the {side}", sorted(columns), ["currency", "id", "total"])
    expect(f"types at the {side}", all(columns.values()), True)
step("changed")

sync("resync", {"scope": {"airflow": ["orders"]}})
sync("resync")
step("resynced")

expect("setup tests", hook.test_connector(CONNECTION)["status"]["setup_state"], "connected")
try:
    FivetranHook(fivetran_conn=login("wrong"), retry_limit=1).get_connector(CONNECTION)
except AirflowException as error:
    expect("refused", "401" in str(error), True)
else:
    raise AssertionError("a wrong secret is accepted")
