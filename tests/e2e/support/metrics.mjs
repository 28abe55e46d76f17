/** The samples of an OpenMetrics text by series. The rules of the format are watched in tests/api/metrics.rs. */
export function parseMetrics(text) {
  if (!text.endsWith("# EOF\n")) throw new Error("The text is cut off");
  const samples = text.split("\n").filter((line) => line && !line.startsWith("#"));
  return new Map(samples.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.slice(line.lastIndexOf(" ") + 1))]));
}
