// One function a card. Each figure is said in a sentence, too.

import { bar, by, h, put } from "./dom.js";
import { BUCKETS } from "./state.js";
import { CAUSES, PLACES, ago, agents, bytes, lasting, number, percent, seconds, several } from "./words.js";

const LATELY_S = 60;
const SOME = 50;
const ENOUGH = 500; // calls, after which equal is equal
const FEW = 20; // calls: a share of fewer says nothing

const share = (part, whole) => (whole ? part / whole : 0);
const says = (...parts) => h("p", { class: "says gap-less" }, ...parts);

/** As the two shares are shown. */
const pointsOf = ({ run, lru }) => Math.round(run * 100) - Math.round(lru * 100);

/** Of all engines' guards: [calls, hits as it is run, hits by recency, "in the last minute"]. */
export function gained(state) {
  const last = state.history.at(-1);
  if (!last || !last.calls) return null;
  const lately = state.grown((one) => one.calls, LATELY_S);
  if (lately >= FEW) {
    const [run, lru] = ["guarded", "lru"].map((name) => state.grown((one) => one[name], LATELY_S) ?? 0);
    return { calls: lately, run: run / lately, lru: lru / lately, since: "in the last minute" };
  }
  return { calls: last.calls, run: last.guarded / last.calls, lru: last.lru / last.calls, since: "since the proxy started" };
}

export function gain(state) {
  const known = gained(state);
  const guards = Object.entries(state.engines).filter(([, one]) => one.guard);
  if (!known) {
    const why = guards.length
      ? "No call was judged yet."
      : "No engine here takes orders of what to evict, so there is nothing to compare: its own rule decides.";
    return put(by("gain"), says(why));
  }
  const rehearses = guards.every(([, one]) => one.guard.rehearses);
  const points = pointsOf(known);
  const verdict =
    points > 0 ? ["That is ", h("b", null, `${several(points, "more call")} in a hundred`), " that need not compute their prompt again."]
    : points < 0 ? [`That is ${several(-points, "call")} in a hundred fewer. If it lasts, the guard hands the cache back to recency.`]
    : known.calls < ENOUGH ? ["Both come to the same so far: after more calls there is more to tell."]
    : ["Both come to the same: either everything fits, or what is known of agents is of no use here."];
  const last = state.history.at(-1);
  put(
    by("gain"),
    h("div", { class: "pair" },
      h("span", { class: "big" }, percent(known.run)),
      h("span", { class: "says" }, rehearses ? "of calls would find their agent's memory still there if distance decided what leaves" : "of calls find their agent's memory still there"),
      h("span", { class: "big less" }, percent(known.lru)),
      h("span", { class: "says" }, "would if what was used longest ago left first (LRU), as engines do by themselves"),
    ),
    h("p", { class: "gap-less" }, ...verdict),
    spark(state),
    h("p", { class: "key", "aria-hidden": "true" }, h("span", null, h("i"), "as it is run"), h("span", null, h("i", { class: "lru" }), "LRU, in its shadow")),
    says(`Judged on ${several(known.calls, "call")} ${known.since}, by what is kept. What is loaded ahead comes on top: `, last.prompt ? ["engines report ", h("b", null, percent(cachedShare(state))), " of prompt tokens as cached."] : "engines report no cached tokens."),
    guards.map(([name, { guard }]) =>
      says(guards.length > 1 ? h("b", null, `${name}: `) : "", guard.in_charge === "distance" ? "Distance decides what leaves: " : "Recency decides what leaves: ", guard.reason, "."),
    ),
  );
}

/** Of prompt tokens, by what the engines report: in the last minute, or of all. */
function cachedShare(state) {
  const lately = state.grown((one) => one.prompt, LATELY_S);
  if (lately > 0) return (state.grown((one) => one.cached, LATELY_S) || 0) / lately;
  const last = state.history.at(-1);
  return share(last.cached, last.prompt);
}

function spark(state) {
  const history = state.history.filter((one, at) => at % 5 === 0 || at === state.history.length - 1);
  const points = history.slice(1).map((one, at) => {
    const calls = one.calls - history[at].calls;
    return calls > 0 ? { at: one.at, run: (one.guarded - history[at].guarded) / calls, lru: (one.lru - history[at].lru) / calls } : null;
  }).filter(Boolean);
  if (points.length < 3) return null;
  const [from, to] = [points[0].at, points.at(-1).at];
  const line = (name) => points.map((one, at) => `${at ? "L" : "M"}${(((one.at - from) / (to - from)) * 300).toFixed(1)} ${(60 - one[name] * 56).toFixed(1)}`).join("");
  return h("svg", { class: "spark", viewBox: "0 0 300 62", preserveAspectRatio: "none", role: "img", "aria-label": `Hit rates of the last ${seconds(to - from)}: as it is run, and LRU` },
    h("path", { class: "lru", d: line("lru"), "vector-effect": "non-scaling-stroke" }),
    h("path", { class: "run", d: line("run"), "vector-effect": "non-scaling-stroke" }));
}

const KINDS = ["device", "loading", "host", "gone"];

/** Agents by how soon they call, and where their memory is. */
export function counted(state) {
  const rows = BUCKETS.map(() => ({ all: 0, device: 0, loading: 0, host: 0, gone: 0 }));
  for (const agent of state.agents.values()) {
    const row = rows[state.bucket(agent)];
    row.all += 1;
    row[agent.place === "unknown" ? "gone" : agent.place] += 1;
  }
  return rows;
}

export function near(state, rows) {
  const soon = rows.slice(0, 3).reduce((sum, one) => ({ all: sum.all + one.all, device: sum.device + one.device }), { all: 0, device: 0 });
  const nobodyTells = [...state.agents.values()].every((one) => one.place === "unknown");
  put(
    by("near"),
    nobodyTells
      ? says("The engines do not say what they hold, so where memory is can't be told.")
      : h("p", null, soon.all ? [h("b", null, `${number(soon.device)} of ${number(soon.all)}`), ` agents that call now or within ten seconds have their memory on the device.`] : "Nobody is expected within ten seconds."),
    h("div", { class: "bars gap" },
      rows.flatMap((row, at) => row.all ? [
        h("span", null, h("i", { class: "swatch", color: BUCKETS[at].color }), ` ${BUCKETS[at].name}`),
        bar(KINDS.map((kind) => [share(row[kind], row.all), kind]), KINDS.filter((kind) => row[kind]).map((kind) => `${number(row[kind])} ${PLACES[kind]}`).join(", "), true),
        h("span", { class: "end" }, number(row.all)),
      ] : [])),
    h("ul", { class: "chips" }, KINDS.map((kind) => h("li", null, h("i", { class: `swatch ${kind}` }), PLACES[kind]))),
    says("A full bar on top is what all this is for. Far agents may be away: there is not room for all."),
  );
}

const STATES = { up: "up", starting: "not found yet", lost: "does not answer", draining: "is leaving" };

export function engines(state) {
  const known = Object.entries(state.engines);
  put(
    by("engines"),
    known.length ? null : says("No engine is registered. POST /admin/v1/engines tells of one."),
    known.map(([name, one]) => h("div", { class: "engine" },
      h("div", { class: "title" }, h("b", null, name), h("span", { class: `state ${one.state === "lost" ? "bad" : one.state === "up" ? "" : "wait"}` }, STATES[one.state] || one.state), one.breaker ? h("span", { class: "state bad" }, "calls fail: it gets few") : null),
      h("p", { class: "says" }, one.about),
      one.problem ? h("p", { class: "says" }, h("b", null, "Problem: "), one.problem) : null,
      Object.keys(one.pools || {}).length ? h("div", { class: "bars gap-less" }, Object.entries(one.pools).flatMap(([pool, { capacity, free }]) => [
        h("span", null, pool === "kv" ? "prefixes" : pool),
        bar([[share(capacity - free, capacity), "device"]], `${bytes(capacity - free)} of ${bytes(capacity)} in use`),
        h("span", { class: "end" }, `${bytes(capacity - free)} of ${bytes(capacity)}`),
      ])) : says("It does not say how full its memory is."),
      says(h("b", null, several(one.calls ?? 0, "call")), " there now. ",
        one.agents ? `It has the memory of ${agents(one.agents)}${one.ordered ? `, of which ${number(one.ordered)} are in its order` : ""}${one.pinned ? `, ${number(one.pinned)} pinned` : ""}. ` : "",
        one.loads ? `${several(one.loads, "load")} on the way${one.loading_bytes ? ` (${bytes(one.loading_bytes)})` : ""}. ` : "",
        one.actions ? `${several(one.actions, "order waits", "orders wait")} to be sent. ` : "")),
    ),
    says(state.overview.waiting ? [h("b", null, several(state.overview.waiting, "call waits", "calls wait")), " in the proxy for a place."] : "No call waits in the proxy."),
  );
}

const RESULTS = [["loaded", "brought to the device"], ["resident", "was there already"], ["stopped", "gave way to something nearer"], ["no_room", "no room that was worth less"], ["absent", "no copy to load from"]];

export function loads(state) {
  const meter = state.overview.meter || {};
  const totals = {};
  let moved = 0;
  for (const states of Object.values(state.overview.loads || {})) {
    for (const [name, one] of Object.entries(states)) {
      totals[name] = (totals[name] || 0) + one.count;
      moved += one.bytes;
    }
  }
  const ended = Object.values(totals).reduce((sum, one) => sum + one, 0);
  if (!ended) return put(by("loads"), says("Nothing was loaded ahead so far. It takes an engine with host memory (or room to compute ahead), and agents of which it is known when they call."));
  const judged = (meter.used || 0) + (meter.unused || 0);
  const others = ended - RESULTS.reduce((sum, [name]) => sum + (totals[name] || 0), 0);
  put(
    by("loads"),
    judged ? h("div", { class: "pair" }, h("span", { class: "big" }, percent(meter.used / judged)),
      h("span", { class: "says" }, `of the ${several(judged, "prefix", "prefixes")} that were brought were called for before they left (while somebody looked on)`))
      : says("Whether loads were of use shows as agents call."),
    h("div", { class: "bars gap" }, [...RESULTS.map(([name, text]) => [totals[name] || 0, text]), [others, "failed"]].flatMap(([count, text]) => count ? [
      h("span", null, text), bar([[share(count, ended), "plain"]], `${percent(share(count, ended))}`), h("span", { class: "end" }, number(count))] : [])),
    says(`${several(ended, "load")} since the proxy started moved ${bytes(moved)}. Who is brought too early wastes room; who comes too late waits.`),
  );
}

export function time(state) {
  const waited = state.grown((one) => one.waited_s, LATELY_S) || 0;
  const served = state.grown((one) => one.served_s, LATELY_S) || 0;
  const planning = state.grown((one) => one.planning, LATELY_S);
  const [first, last] = [state.history.find((one) => one.at >= state.history.at(-1).at - LATELY_S), state.history.at(-1)];
  const passed = last && first ? last.at - first.at : 0;
  const whole = waited + served;
  const calls = state.grown((one) => one.ended, LATELY_S) || 0;
  put(
    by("time"),
    whole ? [
      h("p", null, "Of the time that calls took in the last minute, ", h("b", null, percent(share(served, whole))), " was spent at the engines", waited > 0.0005 * whole ? [" and ", h("b", null, percent(share(waited, whole))), " waiting for a place there."] : ". Nobody had to wait for a place."),
      h("div", { class: "gap-less" }, bar([[share(waited, whole), "waits"], [share(served, whole), "device"]], `${percent(share(waited, whole))} waiting, ${percent(share(served, whole))} at the engines`, true)),
      h("ul", { class: "chips" }, h("li", null, h("i", { class: "swatch waits" }), `waiting: ${lasting(waited)} in all`), h("li", null, h("i", { class: "swatch device" }), `at the engines: ${lasting(served)} in all`)),
    ] : says("No call ended while this page looked on."),
    says(passed > 2 ? [`${(calls / passed).toFixed(calls / passed < 10 ? 1 : 0)} calls a second. `, planning === null ? "" : `Working out who calls next takes ${percent(planning / passed, 1)} of the proxy's time.`] : ""),
  );
}

export function misses(state, name) {
  const known = Object.entries(state.simulations[name]?.misses || {}).sort((one, other) => other[1] - one[1]);
  const calls = state.simulations[name]?.calls || 0;
  const all = known.reduce((sum, [, count]) => sum + count, 0);
  if (!all) return put(by("misses"), says(calls ? "Every call found its memory so far, or the engine does not say." : "No call so far."));
  put(
    by("misses"),
    h("p", null, h("b", null, `${number(all)} of ${number(calls)}`), " calls of this simulation did not find their memory on the device. The main causes:"),
    h("div", { class: "bars gap" }, known.slice(0, 5).flatMap(([cause, count]) => {
      const [title, meaning] = CAUSES[cause] || [cause, ""];
      return [h("span", null, title), bar([[count / all, "plain"]], percent(count / all)), h("span", { class: "end" }, number(count)), h("p", { class: "note" }, meaning)];
    })),
  );
}

export function who(state) {
  const bins = state.confidence;
  const all = bins.reduce((sum, one) => sum + one, 0);
  const said = bins[10] || 0;
  const most = Math.max(1, ...bins.slice(0, 10));
  const named = Object.entries(state.overview.named || {}).sort((one, other) => other[1] - one[1]);
  const unsure = Object.values(state.overview.unsure || {}).reduce((sum, one) => sum + one, 0);
  const calls = named.reduce((sum, [, count]) => sum + count, 0) + unsure;
  put(
    by("who"),
    all ? h("p", null, said === all ? "All agents said outright who they are." : [h("b", null, `${number(all - said)} of ${number(all)}`), " agents were recognised by their prompts; the others said outright who they are."]) : says("No agents yet."),
    all && said < all ? [
      h("div", { class: "histogram gap", role: "img", "aria-label": `Recognised agents by confidence, in tenths from 0 to 100 %: ${bins.slice(0, 10).join(", ")}` }, bins.slice(0, 10).map((one) => h("span", { "height%": (100 * one) / most }))),
      h("div", { class: "axis", "aria-hidden": "true" }, h("span", null, "a guess"), h("span", null, "50 %"), h("span", null, "certain")),
    ] : null,
    named.length ? h("div", { class: "bars gap" }, named.slice(0, 5).flatMap(([source, count]) => [h("span", null, source || "nobody"), bar([[share(count, calls), "plain"]], percent(share(count, calls))), h("span", { class: "end" }, number(count))])) : null,
    calls ? says(`Calls by what named their caller. ${unsure ? `Of all, ${percent(share(unsure, calls))} were of nobody we are sure of: they are served like any other, and nothing is kept for them.` : "None was of nobody."}`) : null,
  );
}

export function towns(state, chosen, choose) {
  const known = Object.entries(state.simulations).reverse();
  by("towns-card").hidden = known.length < 2;
  if (known.length < 2) return;
  const more = (state.overview.known || 0) - known.length;
  put(
    by("towns"),
    h("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Simulations" }, h("table", null,
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Name"), h("th", { scope: "col" }, "Mode"), h("th", { scope: "col", class: "number" }, "Agents"), h("th", { scope: "col", class: "number" }, "Calling"), h("th", { scope: "col", class: "number" }, "Cached"))),
      h("tbody", null, known.map(([name, one]) => h("tr", null,
        h("td", null, h("button", { type: "button", "data-town": name, "aria-current": name === chosen ? "true" : null }, name)),
        h("td", null, one.resting ? `${one.mode}, at rest` : one.mode),
        h("td", { class: "number" }, number(one.agents)), h("td", { class: "number" }, number(one.running)),
        h("td", { class: "number" }, one.prompt ? percent(one.cached / one.prompt) : "–")))))),
    says(`The one that was heard of last first.${more > 0 ? ` ${number(more)} more are known; name one in the head of the page.` : ""} Cached: share of prompt tokens that engines had.`),
  );
}

const WHAT = { order: "Order", pin: "Pin", unpin: "Let go of", evict: "Give up", load: "Load", stopload: "Stop loading", fetchadapter: "Fetch", dropadapter: "Drop", renew: "Keep in force for" };

export function actions(state, prefix) {
  const many = Object.keys(state.engines).length > 1;
  put(
    by("actions"),
    state.actions.length ? state.actions.slice(0, 40).map(([, at, engine, what, of, why, result, failed]) => h("li", null,
      h("time", null, ago(Math.max(0, state.at - at))),
      h("div", null, h("span", { class: "what" }, `${WHAT[what] || what} ${of.replaceAll(prefix, "")}`), many ? ` on ${engine}` : "",
        h("span", { class: "why" }, ` – ${why.replaceAll(prefix, "")}`), result === "done" ? "" : h("span", { class: failed ? "failed" : "" }, `. ${failed ? "Failed: " : "Result: "}${result}`))))
      : h("li", null, h("span"), h("span", { class: "why" }, "Nothing yet.")),
  );
}

export function legend() {
  put(
    by("legend"),
    h("div", null, h("strong", null, "It calls next"), h("ul", null, BUCKETS.map((one) => h("li", null, h("i", { class: "swatch", color: one.color }), one.name)))),
    h("div", null, h("strong", null, "Its memory is"), h("ul", null,
      [["", "on the device"], ["ring", "on its way there"], ["half", "in host memory"], ["speck", "not there, or not known"]].map(([kind, text]) => h("li", null, h("i", { class: `swatch ${kind}`, color: "--d2" }), text)))),
  );
}

/** Of the whole, in one or two sentences. */
export function summary(state, name) {
  const town = state.simulations[name];
  if (!town) return [`Nothing was heard of ${name} yet.`];
  const rows = counted(state);
  const device = rows.reduce((sum, one) => sum + one.device, 0);
  const known = gained(state);
  const points = known ? pointsOf(known) : 0;
  const place = state.agents.size ? `the memory of ${number(device)} is on the device` : "";
  return [
    h("b", null, name), ` has ${agents(town.agents)}: `, h("b", null, `${several(town.running, "call")} now`), place ? ` and ${place}. ` : ". ",
    !known || known.calls < SOME ? "It is too early to say what is gained." : [
      state.history.at(-1).prompt ? ["Engines had ", h("b", null, percent(cachedShare(state))), " of prompt tokens in their cache. "] : "",
      points ? ["By what is kept, ", h("b", null, `${several(Math.abs(points), points > 0 ? "more call" : "fewer call", points > 0 ? "more calls" : "fewer calls")} in a hundred`), " find their memory than by LRU."] : "What is kept is as good as by LRU.",
    ],
    town.resting ? " It rests: nothing was heard of it for long." : "",
    town.mode === "off" ? " It is switched off: calls only pass through." : town.mode === "shadow" ? " It is in shadow: nothing is sent to engines." : "",
  ];
}
