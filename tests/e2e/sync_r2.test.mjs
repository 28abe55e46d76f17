// Postgres to Parquet on R2: every value, read back by DuckDB with the SQL that docs/reading-r2.md tells users.
import { BUCKET } from "./support/landed.mjs";
import { tellStory } from "./support/story.mjs";
import { startWorld } from "./support/world.mjs";

const world = await startWorld();
tellStory(world, "r2", { bucket: BUCKET, prefix: "lake" }, "lake/");
