// What is said, in words.

export const number = (value) => value.toLocaleString("en");
export const percent = (value, digits = 0) => (value > 0 && value < 0.005 && !digits ? "under 1 %" : `${(value * 100).toFixed(digits)} %`);
export const agents = (count) => (count === 1 ? "1 agent" : `${number(count)} agents`);
export const several = (count, one, many = `${one}s`) => (count === 1 ? `1 ${one}` : `${number(count)} ${many}`);

export function seconds(value) {
  if (value === Infinity) return "not again";
  if (value < 0.95) return value < 0.05 ? "now" : `${value.toFixed(1)} s`;
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} days`;
}

/** A length, and no moment. */
export function lasting(value) {
  return value < 0.05 ? "0 s" : seconds(value);
}

export function ago(value) {
  return value < 1 ? "just now" : `${seconds(value)} ago`;
}

export function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (value >= size) return `${(value / size).toFixed(value >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${value} B`;
}

const UNITS = { steps: "step", bursts: "step", turns: "turn", seconds: "second" };

/** When an agent calls next. */
export function when(state, agent) {
  if (agent.state === 2) return "calling now";
  if (agent.state === 1) return "in the middle of a few calls";
  const away = state.away(agent);
  if (away === null) return "not known yet";
  if (away === Infinity) return "not expected again";
  const units = state.units(agent);
  if (units <= -1 && agent.source !== "operator") return `overdue for ${agent.clock === "seconds" ? seconds(-units) : several(Math.round(-units), UNITS[agent.clock])}`;
  if (units <= 0) return "due now";
  if (agent.clock === "seconds") return `in ${seconds(away)}`;
  if (agent.clock === "turns") return `after ${several(Math.max(1, Math.round(units)), "other")}, about ${seconds(away)}`;
  const steps = units < 10 ? Math.round(units * 10) / 10 : Math.round(units);
  return `in ${several(steps, UNITS[agent.clock])}, about ${seconds(away)}`;
}

export const PLACES = {
  device: "on the device",
  loading: "on its way to the device",
  host: "in host memory",
  gone: "not there, as far as is told",
  unknown: "not known",
};

export const SOURCES = {
  activation: "its calls: it is in the middle of some",
  hinted: "what the simulation said",
  plan: "the simulation: how long its action takes",
  answers: "the LLM: how long its action takes",
  spatial: "where agents are, and whom they will meet",
  path: "the graph along which activity spreads",
  turns: "the order in which agents took turns so far",
  gap: "how long agents stay away",
};

export const CAUSES = {
  never_seen: ["First call", "Nobody had called by that name there before: there was nothing to find."],
  engine_restarted: ["The engine restarted", "Everything it held is gone; agents fill it again as they call."],
  prefix_changed: ["The prompt began otherwise", "Its memory was there, but the prompt did not begin like the last one. Put what changes last."],
  prefetch_late: ["The load was too late", "Its memory was on the way, and the call came first."],
  prefetch_refused: ["The load was refused", "There was no copy to load from, or no room that was worth less."],
  evicted_near: ["Evicted though near", "By its distance it should have stayed: recency was in charge, or sizes were wrong."],
  evicted_far: ["Evicted as far", "Others were expected sooner and took the room. More room, or better distances, would help."],
  adapter_missing: ["The adapter was in no slot", "Its prefix was there, but its LoRA adapter had to be loaded first."],
  unknown: ["Nobody knows", "Nothing tells why."],
};

export const MODES = {
  off: "Calls pass through. Nothing is told to engines, and nothing is learned for them: a plain proxy.",
  shadow: "Everything is worked out and counted, and nothing is sent to engines: see what it would be worth.",
  on: "Engines are told what to keep, and memory is brought to the device before calls.",
};
