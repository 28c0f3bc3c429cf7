/** Tells what a page loads, minified and gzipped, and fails where that is too much. */

import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

// Less than a small picture: a page must not have to think about it.
const LIMIT = 8 * 1024;

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL("../src/index.js", import.meta.url))],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  write: false,
});
const { length } = gzipSync(outputFiles[0].contents, { level: 9 });
console.log(`${length} bytes, minified and gzipped; ${LIMIT} at most`);
if (length >= LIMIT) process.exitCode = 1;
