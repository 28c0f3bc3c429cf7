/** Puts the types that are written by hand beside those that are generated. */

import { copyFile } from "node:fs/promises";

await copyFile(new URL("../src/registry.d.ts", import.meta.url), new URL("../types/registry.d.ts", import.meta.url));
