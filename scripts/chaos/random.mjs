// Chance that can be had again: the same seed gives the same rolls, whatever the other actors do meanwhile.

/** A stream of rolls for one actor. @param {string} seed For example `"1234/mutator 2"`. */
export function dice(seed) {
  let state = hash(seed);
  /** In [0, 1): mulberry32. */
  const roll = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (low, high) => low + Math.floor(roll() * (high - low + 1));
  return {
    roll,
    /** A whole number, both ends included. */
    between,
    pick: (list) => list[between(0, list.length - 1)],
    /** One of `[weight, value]` pairs. */
    weighted(pairs) {
      let left = roll() * pairs.reduce((sum, [weight]) => sum + weight, 0);
      return pairs.find(([weight]) => (left -= weight) < 0)[1];
    },
  };
}

/** FNV-1a, 32 bits. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value;
}
