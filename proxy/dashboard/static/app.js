// Puts the page together.

import * as cards from "./cards.js";
import { by, h, put } from "./dom.js";
import { Feed, ask, key } from "./feed.js";
import { FieldView } from "./field.js";
import { State } from "./state.js";
import { Story } from "./story.js";
import { TableView } from "./table.js";
import { MODES, agents, number, seconds, several } from "./words.js";

const SPEAK_MS = 20000; // nobody wants to be read figures each second

const state = new State();
const story = new Story(state);
let feed = null;
let chosen = decodeURIComponent(location.hash.slice(1));
let view = "field";
let lost = null; // why, and since when
let spoken = 0;
let switching = false;

const open = (agent) => story.open(chosen, agent);
const field = new FieldView(state, open, (text) => (by("spoken").textContent = text));
const table = new TableView(state, open);

// The feed

function connect() {
  feed?.close();
  feed = new Feed(chosen || null, {
    picture: (told) => {
      state.picture(told);
      adopt();
      show();
    },
    change: (told) => {
      const before = Object.keys(state.simulations).length;
      state.change(told);
      if (Object.keys(state.simulations).length !== before) adopt();
      show();
    },
    live: () => {
      if (lost || by("link").dataset.state !== "live") link("live", "live");
      lost = null;
    },
    lost: (why, wait) => {
      lost = lost || { since: performance.now() };
      lost.why = why;
      link("lost", `trying again in ${seconds(Math.max(1, wait / 1000))}`);
      notices();
    },
    locked: (why) => locked(why),
  });
}

function link(kind, text) {
  by("link").dataset.state = kind;
  by("link-says").textContent = text;
  document.body.classList.toggle("stale", kind === "lost");
}

/** Whoever came without a simulation looks at the one that was heard of last. */
function adopt() {
  const known = Object.keys(state.simulations);
  if (!chosen && known.length) choose(known.at(-1));
}

function choose(name) {
  if (name === chosen && feed) return;
  chosen = name;
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  table.page = 0;
  connect();
}

function locked(why) {
  link("lost", "locked");
  by("key-says").textContent = key.get() ? "That key does not open. It is one of its admin_keys." : "One of its admin_keys. It is kept in this tab alone, until it is closed.";
  key.forget();
  if (!by("key").open) by("key").showModal();
  by("summary").textContent = "This proxy wants a key.";
}

// What is seen

function ordered() {
  const [order, only, text] = [by("order").value, by("only").value, by("search").value.trim().toLowerCase()];
  const keeps = {
    active: (one) => one.state > 0,
    device: (one) => one.place === "device",
    away: (one) => one.place !== "device",
    unsure: (one) => one.confidence !== null,
  }[only];
  let shown = [...state.agents.values()];
  if (keeps) shown = shown.filter(keeps);
  if (text) shown = shown.filter((one) => one.name.toLowerCase().includes(text));
  if (order === "name") shown.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  if (order === "next") {
    const far = new Map(shown.map((one) => [one, state.away(one) ?? 1e15]));
    shown.sort((one, other) => Math.min(far.get(one), 1e14) - Math.min(far.get(other), 1e14) || one.id - other.id);
  }
  return shown;
}

function agentsShown() {
  const shown = ordered();
  if (view === "field") field.show(shown);
  else table.show(shown);
  by("field").setAttribute("aria-label", `Field of ${agents(shown.length)}`);
}

function show() {
  const known = Object.keys(state.simulations);
  const isEmpty = !known.length && !chosen;
  by("empty").hidden = !isEmpty;
  by("panels").hidden = isEmpty;
  by("mode").hidden = by("mode").disabled = isEmpty || !state.simulations[chosen];
  picker(known);
  notices();
  foot();
  if (isEmpty) {
    put(by("summary"), "The proxy is there and waits for its first call.");
    put(by("empty-how"), how());
    return;
  }
  put(by("summary"), cards.summary(state, chosen));
  mode();
  if (document.hidden) return; // nobody looks; the next second is soon enough
  agentsShown();
  cards.gain(state);
  cards.near(state, cards.counted(state));
  cards.engines(state);
  cards.loads(state);
  cards.time(state);
  cards.misses(state, chosen);
  cards.who(state);
  cards.towns(state, chosen);
  cards.actions(state, `${chosen}/`);
  if (performance.now() - spoken > SPEAK_MS && document.activeElement !== by("field")) {
    spoken = performance.now();
    by("spoken").textContent = by("summary").textContent;
  }
}

function how() {
  const port = state.overview.port || 8000;
  return `export OPENAI_BASE_URL=http://${location.hostname}:${port}/v1\n\n# or, in its code:\nclient = OpenAI(base_url="http://${location.hostname}:${port}/v1")`;
}

function picker(known) {
  const names = [...new Set([...(chosen ? [chosen] : []), ...known.toReversed()])].sort((one, other) => one.localeCompare(other, "en", { numeric: true }));
  const select = by("simulation");
  if (select.shown !== names.join("\n")) {
    select.shown = names.join("\n");
    select.replaceChildren(...(names.length ? names.map((name) => h("option", { value: name }, name)) : [h("option", { value: "" }, "none yet")]));
  }
  if (chosen) select.value = chosen;
  by("find-simulation").hidden = (state.overview.known || 0) <= known.length;
}

function mode() {
  const now = state.simulations[chosen]?.mode;
  if (switching || !now) return;
  for (const one of by("mode").querySelectorAll("input")) one.checked = one.value === now;
}

function notices() {
  const told = [];
  if (lost) {
    const since = (performance.now() - lost.since) / 1000;
    told.push(["bad", `No word from the proxy for ${seconds(Math.max(1, since))} (${lost.why}). What you see is as it was then; this page goes on trying.`]);
  }
  if (state.overview.ending) told.push(["", "The proxy is about to end: running calls are finished, new ones are refused."]);
  for (const [name, one] of Object.entries(state.engines)) {
    if (one.state === "lost" || (one.state === "starting" && one.problem)) {
      const others = Object.values(state.engines).some((other) => other.state === "up");
      told.push(["bad", `${name} does not answer at ${one.url} (${one.problem || "no reason known"}). ${others ? "Its calls go to the other engines." : "Calls fail until it is back. Is it running? Does its address lead there from this machine?"}`]);
    } else if (!one.commanded) told.push(["", `${name} is commanded by another proxy. This one serves on, and decides nothing there.`]);
  }
  const failures = Object.values(state.overview.failures || {}).reduce((sum, one) => sum + one, 0);
  if (failures) told.push(["", `${number(failures)} failures inside the proxy were survived; its log says which.`]);
  if (state.behind > 500) told.push(["good", `More changes than can be shown: the field is some ${seconds(state.behind / 1000 + 1)} behind.`]);
  if (result) told.push(result);
  put(by("notices"), told.map(([kind, text]) => h("p", { class: `notice ${kind}` }, text)));
}

function foot() {
  const { version, policy, known } = state.overview;
  put(by("foot"), `ScaleSim ${version || ""}, policy ${(policy || "").replaceAll("_", " ")}. ${several(known || 0, "simulation")} known. All that you see is worked out once for everybody who looks on, and not at all while nobody does.`);
}

// What is done

let result = null;

function tell(kind, text) {
  result = [kind, text];
  notices();
  setTimeout(() => {
    if (result?.[1] === text) result = null;
    notices();
  }, 8000);
}

async function switchTo(value) {
  const name = chosen;
  switching = true;
  by("confirm-title").textContent = `Switch ${name} to ${value}?`;
  by("confirm-says").textContent = MODES[value];
  by("confirm-yes").textContent = `Switch to ${value}`;
  const dialog = by("confirm");
  dialog.returnValue = "";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  try {
    if (dialog.returnValue === "yes") {
      await ask(`/admin/v1/simulations/${encodeURIComponent(name)}/mode`, { method: "PUT", body: JSON.stringify({ mode: value }) });
      if (state.simulations[name]) state.simulations[name].mode = value;
      tell("good", `${name} is ${value === "shadow" ? "in shadow" : value} now. ${MODES[value]}`);
    }
  } catch (error) {
    tell("bad", `${name} was not switched: ${error.message}`);
  } finally {
    switching = false;
    mode();
  }
}

function show_as(name) {
  view = name;
  by("as-field").setAttribute("aria-pressed", String(name === "field"));
  by("as-table").setAttribute("aria-pressed", String(name === "table"));
  by("field-view").hidden = name !== "field";
  by("table-view").hidden = name !== "table";
  agentsShown();
}

function paint(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  field.draw();
}

by("simulation").addEventListener("change", (event) => event.target.value && choose(event.target.value));
by("find-simulation").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = by("other-simulation").value.trim();
  if (name) choose(name);
});
by("towns").addEventListener("click", (event) => {
  const name = event.target.closest("[data-town]")?.dataset.town;
  if (name) choose(name);
});
for (const one of by("mode").querySelectorAll("input")) one.addEventListener("change", () => switchTo(one.value));
by("confirm-yes").addEventListener("click", () => by("confirm").close("yes"));
by("confirm-no").addEventListener("click", () => by("confirm").close("no"));
by("as-field").addEventListener("click", () => show_as("field"));
by("as-table").addEventListener("click", () => show_as("table"));
for (const id of ["order", "only", "search"]) {
  by(id).addEventListener("input", () => {
    table.page = 0;
    agentsShown();
  });
}
by("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(by("key-value").value.trim());
  by("key-value").value = "";
  by("key").close();
  connect();
});
by("key").addEventListener("cancel", (event) => event.preventDefault());
by("theme").value = localStorage.getItem("scalesim-theme") || "";
by("theme").addEventListener("change", () => {
  localStorage.setItem("scalesim-theme", by("theme").value);
  paint(by("theme").value);
});
document.addEventListener("visibilitychange", () => !document.hidden && show());
addEventListener("hashchange", () => choose(decodeURIComponent(location.hash.slice(1))));

paint(by("theme").value);
cards.legend();
connect();
