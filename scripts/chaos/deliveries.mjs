// A queue that loses, repeats and delays. Cloudflare's delivers at least once and in any order, and the engine promises to
// bear worse (I3), so the faults sit where they cannot be avoided: in front of the Worker's own consumer.

/** Options of a service whose queue misbehaves until `end` (epoch, milliseconds), decided by `seed`. */
export function unreliable(worker, { seed, end }) {
  const [inner] = worker.modules;
  const name = (inner.path ?? "").split("/").pop();
  worker.modules.unshift({ type: "ESModule", path: `${worker.modulesRoot}/deliveries.js`, contents: source(name, seed, end) });
}

/** The entry module, around the one it hides. What it did is logged, and so counted by the harness. */
const source = (inner, seed, end) => `import Service from "./${inner}";
export * from "./${inner}";
let state = ${seed};
const roll = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export default class extends Service {
  async queue(batch) {
    if (Date.now() >= ${end}) return super.queue(batch);
    const fate = roll();
    if (fate < 0.04) {
      console.log("chaos: lost");
      return batch.ackAll();
    }
    if (fate < 0.12) {
      console.log("chaos: delayed");
      await pause(500 + roll() * 4000);
    } else if (fate < 0.24) {
      console.log("chaos: repeated");
      await Promise.all([super.queue(batch), super.queue(batch)]);
      return;
    }
    return super.queue(batch);
  }
}
`;
