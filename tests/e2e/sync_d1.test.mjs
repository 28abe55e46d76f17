// Postgres to D1: every value, read back by SQLite itself from the database's file.
import { DATABASE } from "./support/landed.mjs";
import { tellStory } from "./support/story.mjs";
import { startWorld } from "./support/world.mjs";

const world = await startWorld();
tellStory(world, "d1", { binding: DATABASE });
