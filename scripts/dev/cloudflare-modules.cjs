// Preloaded into Node for the wasm-bindgen tests: the `cloudflare:*` modules exist in workerd only, and our WASM names
// them in its imports. They are empty, so a test that reached for one would fail: such a test belongs to tests/e2e.
const Module = require("node:module");

const load = Module._load;
Module._load = function (request, ...rest) {
  return request.startsWith("cloudflare:") ? {} : load.call(this, request, ...rest);
};
