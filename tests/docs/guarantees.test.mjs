// docs/guarantees.md promises things and names the tests that prove them. A promise whose test is gone is a lie.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { root } from "../../scripts/lib/paths.mjs";

const docs = path.join(root, "docs");
const page = readFileSync(path.join(docs, "guarantees.md"), "utf8");
const proofs = [...page.matchAll(/\[`([^`]+)`\]\(([^)]+)\)/g)].map(([, name, target]) => ({ name, target }));

/** Whether the file holds a test of that name: a Rust function under #[test], or a title in JavaScript. */
function holds(file, name) {
  const text = readFileSync(file, "utf8");
  if (file.endsWith(".rs")) {
    return new RegExp(`#\\[(tokio::)?test[^\\]]*\\]\\s*(#\\[[^\\]]*\\]\\s*)*(async )?fn ${name}\\(`).test(text)
      // Inside `proptest!` and macros of our own the attribute stands apart from the function.
      || (text.includes("proptest!") && new RegExp(`fn ${name}\\(`).test(text));
  }
  return ['"', "`"].some((quote) => text.includes(`test(${quote}${name}`));
}

test("every test that docs/guarantees.md names exists", () => {
  assert.ok(proofs.length >= 20, `only ${proofs.length} links were understood`);
  const missing = proofs.filter(({ name, target }) => {
    const file = path.resolve(docs, target);
    return !existsSync(file) || !holds(file, name);
  });
  assert.deepEqual(missing, []);
});

test("every invariant is promised, with a proof", () => {
  for (let number = 1; number <= 10; number += 1) {
    const [, promise] = new RegExp(`\\*\\*I${number}\\. ([^]*?)(?=\\n\\*\\*I|\\n## )`).exec(page) ?? [];
    assert.match(promise ?? "", /\[`/, `I${number} has no proof`);
  }
});
