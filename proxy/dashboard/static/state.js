// What is known now, put together from a picture and the changes after it.

const ACTIONS = 100;
const HISTORY = 300; // seconds

/** RFC 7396. */
export function patched(target, patch) {
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete target[name];
    else if (typeof value === "object" && !Array.isArray(value)) {
      const inner = target[name];
      target[name] = patched(inner && typeof inner === "object" && !Array.isArray(inner) ? inner : {}, value);
    } else target[name] = value;
  }
  return target;
}

export const BUCKETS = [
  { name: "calls now", until: 0, color: "--now" },
  { name: "within 2 s", until: 2, color: "--d1" },
  { name: "within 10 s", until: 10, color: "--d2" },
  { name: "within 1 min", until: 60, color: "--d3" },
  { name: "within 10 min", until: 600, color: "--d4" },
  { name: "later, or not again", until: Infinity, color: "--d5" },
  { name: "not known", until: NaN, color: "--unknown" },
];
const UNKNOWN = BUCKETS.length - 1;

export class State {
  constructor() {
    this.clear();
  }

  clear() {
    this.overview = {};
    this.agents = new Map();
    this.words = [];
    this.clocks = {};
    this.confidence = [];
    this.actions = [];
    this.history = [];
    this.at = 0;
    this.heard = 0;
    this.behind = 0;
    this.version = 0; // of the agents
  }

  picture(told) {
    this.agents.clear();
    this.words = [];
    this.clocks = {};
    this.confidence = [];
    this.actions = [];
    this.overview = {};
    this.version += 1;
    this.change(told);
  }

  change(told) {
    this.at = told.at;
    this.heard = performance.now();
    if (told.overview) patched(this.overview, told.overview);
    for (const one of told.actions || []) {
      if (!this.actions.length || one[0] > this.actions[0][0]) this.actions.unshift(one);
    }
    this.actions.length = Math.min(this.actions.length, ACTIONS);
    if (told.field) this.#take(told.field);
    this.#remember();
  }

  /** Seconds on the proxy's clock. */
  get now() {
    return this.at + (performance.now() - this.heard) / 1000;
  }

  get simulations() {
    return this.overview.simulations || {};
  }

  get engines() {
    return this.overview.engines || {};
  }

  /** Seconds until the agent's next call; null: not known, Infinity: not expected. */
  away(agent) {
    if (agent.state) return 0;
    if (!agent.clock) return null;
    if (agent.due === null) return Infinity;
    const [at, unit] = this.clocks[agent.clock] || [0, 1];
    const now = agent.clock === "seconds" ? at + this.now - this.at : at;
    return Math.max(0, (agent.due - now) * unit);
  }

  /** The same in the units of its clock. */
  units(agent) {
    const [at] = this.clocks[agent.clock] || [0];
    return agent.due - (agent.clock === "seconds" ? at + this.now - this.at : at);
  }

  bucket(agent) {
    if (agent.state) return 0;
    const away = this.away(agent);
    if (away === null) return UNKNOWN;
    return BUCKETS.findIndex((one, number) => number > 0 && away <= one.until);
  }

  /** How much a counter grew in the last `seconds`, as far back as this page looked on. */
  grown(of, seconds) {
    const last = this.history.at(-1);
    if (!last) return null;
    const first = this.history.find((one) => one.at >= last.at - seconds) || last;
    const value = of(last) - of(first);
    return Number.isFinite(value) && value >= 0 ? value : null;
  }

  #take(field) {
    for (const [number, word] of field.words || []) this.words[number] = word;
    if (field.clocks) this.clocks = field.clocks;
    if (field.confidence) this.confidence = field.confidence;
    this.behind = field.behind ?? this.behind;
    for (const [id, engine, state, place, clock, due, source, confidence, name] of field.agents || []) {
      if (name === undefined && !this.agents.has(id)) continue; // it left before its name was told
      const agent = this.agents.get(id) || { id, name };
      agent.engine = this.words[engine];
      agent.state = state;
      agent.place = this.words[place];
      agent.clock = this.words[clock];
      agent.due = due;
      agent.source = this.words[source];
      agent.confidence = confidence;
      if (name !== undefined) agent.name = name;
      this.agents.set(id, agent);
    }
    for (const id of field.gone || []) this.agents.delete(id);
    if (field.agents?.length || field.gone?.length) this.version += 1;
  }

  #remember() {
    const guards = Object.values(this.engines).map((one) => one.guard).filter(Boolean);
    const sum = (name) => guards.reduce((total, one) => total + one[name], 0);
    const towns = Object.values(this.simulations);
    const last = this.history.at(-1);
    if (last && this.at - last.at < 0.5) return;
    this.history.push({
      at: this.at,
      calls: sum("calls"),
      guarded: sum("guarded"),
      lru: sum("lru"),
      distance: sum("distance"),
      ended: towns.reduce((total, one) => total + one.calls, 0),
      prompt: towns.reduce((total, one) => total + one.prompt, 0),
      cached: towns.reduce((total, one) => total + one.cached, 0),
      planning: this.overview.planning_s || 0,
      ...Object.fromEntries(["waited_s", "served_s"].map((name) => [name, this.overview.meter?.[name] || 0])),
    });
    if (this.history.length > HISTORY) this.history.shift();
  }
}
