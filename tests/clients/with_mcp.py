"""fivetran-mcp: its tools, called over MCP; its base URL is an attribute of the class."""

import asyncio
import os

from fastmcp import Client
from fastmcp.exceptions import ToolError
from fivetran_mcp import fivetran_api, server
from story import CONNECTION, GROUP, KEY, PATIENCE, POLL, SCHEMA, SECRET, URL, expect, step

fivetran_api.FivetranClient.BASE_URL = URL
os.environ |= {"FIVETRAN_API_KEY": KEY, "FIVETRAN_API_SECRET": SECRET}


async def main():
    async with Client(server.mcp) as mcp:

        async def tool(name, **arguments):
            return (await mcp.call_tool(name, arguments)).structured_content

        async def status():
            return await tool("get_connection_status", connection_id=CONNECTION)

        async def ended(name, **arguments):
            """Starts something and polls its end, as an assistant would."""
            before = (await status())["succeeded_at"]
            expect(name, (await tool(name, connection_id=CONNECTION, **arguments))["success"], True)
            for _ in range(int(PATIENCE / POLL)):
                if (await status())["succeeded_at"] != before:
                    return
                await asyncio.sleep(POLL)
            raise TimeoutError(name)

        groups = await tool("list_groups")
        expect("group", GROUP in str(groups), True)
        expect("connections", CONNECTION in str(await tool("list_connections")), True)
        expect("connections of the group", SCHEMA in str(await tool("list_connections", group_id=GROUP)), True)
        expect("setup", (await status())["status"]["setup_state"], "connected")
        expect("tests", "PASSED" in str(await tool("test_connection", connection_id=CONNECTION)), True)

        await ended("trigger_sync")
        step("synced")

        await tool("reload_schema", connection_id=CONNECTION)
        expect("new table", "refunds" in str(await tool("list_tables", connection_id=CONNECTION)), True)
        await ended("trigger_sync", force=True)
        columns = await tool("get_table_columns", connection_id=CONNECTION, schema="mcp", table="orders")
        expect("columns", sorted(one["name"] for one in columns["columns"]), ["currency", "id", "total"])
        expect("keys", columns["primary_keys"], ["id"])
        expect("schema", "currency" in str(await tool("get_connection_schema", connection_id=CONNECTION, table="mcp.orders")), True)
        step("changed")

        await ended("resync_tables", tables=["mcp.orders"])
        await ended("trigger_resync")
        state = await tool("get_table_status", connection_id=CONNECTION)
        expect("tables", state["summary"]["enabled"], 3)
        await tool("pause_connection", connection_id=CONNECTION)
        expect("paused", (await status())["paused"], True)
        await tool("resume_connection", connection_id=CONNECTION)
        step("resynced")

        server._client = None
        os.environ["FIVETRAN_API_SECRET"] = "wrong"
        try:
            await status()
        except ToolError as error:
            expect("refused", "401" in str(error), True)
        else:
            raise AssertionError("a wrong secret is accepted")


asyncio.run(main())
