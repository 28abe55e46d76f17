// Plain, readable output: colours and a moving line on a terminal, whole lines in a log.
const tty = process.stdout.isTTY === true;
const colour = (code) => (text) => (tty && !process.env.NO_COLOR ? `\u001b[${code}m${text}\u001b[0m` : String(text));

export const bold = colour(1);
export const dim = colour(2);
export const red = colour(31);
export const green = colour(32);
export const yellow = colour(33);
export const cyan = colour(36);

/** 1234567 → "1,234,567" */
export const number = (value) => Number(value).toLocaleString("en-US");

export function bytes(count) {
  const units = ["B", "kB", "MB", "GB"];
  let value = Number(count);
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;

export function say(text = "") {
  console.log(text);
}

let steps = 0;

export function step(title) {
  steps += 1;
  say(`\n${bold(`${steps}  ${title}`)}`);
}

export const detail = (text) => say(`   ${text}`);
export const passed = (text) => detail(`${green("ok")} ${text}`);
export const skipped = (text) => detail(`${yellow("skipped")} ${text}`);
export const failed = (text) => detail(`${red("differs")} ${text}`);

/** Columns as wide as their widest cell; numbers are right-aligned. */
export function table(header, rows) {
  const cells = [header, ...rows].map((row) => row.map(String));
  const widths = header.map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const right = header.map((_, column) => rows.every((row) => typeof row[column] === "number" || /^[\d,.]+( [kMG]?B)?$/.test(row[column])));
  for (const [index, row] of cells.entries()) {
    const line = row.map((cell, column) => (right[column] ? cell.padStart(widths[column]) : cell.padEnd(widths[column])));
    detail((index === 0 ? dim : String)(line.join("  ").trimEnd()));
  }
}

/** A line that moves on a terminal, and is repeated every few seconds in a log. */
export function liveLine() {
  const every = 3000;
  let last = Date.now();
  const clear = () => process.stdout.write("\r\u001b[2K");
  return {
    show(text) {
      if (tty) {
        clear();
        process.stdout.write(`   ${text.slice(0, (process.stdout.columns || 80) - 4)}`);
      } else if (Date.now() - last >= every) {
        last = Date.now();
        detail(text);
      }
    },
    done() {
      if (tty) clear();
    },
  };
}
