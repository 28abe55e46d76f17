// Where things are. What is costly to make lives in a cache outside the tree, so that a clean clone finds it.
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The repository. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** Built tools, the cargo target directory, the Python environment. Never needed for correctness: delete it freely. */
export const cacheDir = path.join(process.env.XDG_CACHE_HOME || path.join(os.homedir(), ".cache"), "fivetran-do");
