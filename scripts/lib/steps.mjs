// Runs the steps of a command beside each other. Compilers, servers and tests wait in turn (for a linker, a lease, an
// alarm), so that two steps on two cores end sooner than one after the other.

/**
 * @typedef {object} Step
 * @property {string[]} [after] Steps that must be over before, well or badly: a failed one does not hide what the others
 *   would have said.
 * @property {() => Promise<object>} run
 */

/**
 * Runs all steps, `atOnce` at a time, the first in `steps` first; gives their results in that order. A step never rejects.
 *
 * @param {Record<string, Step>} steps
 * @param {number} atOnce
 */
export async function runSteps(steps, atOnce) {
  const results = {};
  const waiting = new Set(Object.keys(steps));
  const running = new Set();
  const isOver = (name) => !waiting.has(name) && !running.has(name);
  await new Promise((resolve) => {
    const fill = () => {
      if (waiting.size + running.size === 0) resolve();
      for (const name of waiting) {
        if (running.size >= atOnce) return;
        if (!(steps[name].after ?? []).every(isOver)) continue;
        waiting.delete(name);
        running.add(name);
        steps[name].run().then((result) => {
          results[name] = result;
          running.delete(name);
          fill();
        });
      }
    };
    fill();
  });
  return Object.keys(steps).map((name) => ({ name, ...results[name] }));
}

/** A writer that begins each line with `label`; what is not a whole line yet waits for its rest. */
export function labelled(label, stream) {
  let rest = "";
  return {
    write(text) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) stream.write(`${label} | ${line}\n`);
    },
  };
}
