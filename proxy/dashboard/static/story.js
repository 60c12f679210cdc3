// What happened to one agent of late, as sentences.

import { by, h, put } from "./dom.js";
import { ask } from "./feed.js";
import { CAUSES, PLACES, SOURCES, ago, number, percent, seconds, when } from "./words.js";

const AGAIN_MS = 3000;
const MOVES = { load: "Loaded ahead", pin: "Pinned", unpin: "Let go of its pin", fetch: "Adapter fetched to host memory", drop: "Adapter dropped from host memory" };
const RESULTS = { loaded: "it is on the device now", resident: "it was there already", stopped: "stopped for something nearer", absent: "there was no copy", no_room: "there was no room" };
const CLOCKS = { steps: "steps", bursts: "steps", turns: "turns", seconds: "seconds" };

export class Story {
  constructor(state) {
    this.state = state;
    this.dialog = by("story");
    this.agent = null;
    this.simulation = null;
    by("story-close").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => clearTimeout(this.timer));
  }

  open(simulation, agent) {
    [this.simulation, this.agent] = [simulation, agent];
    by("story-title").textContent = agent;
    put(by("story-facts"));
    put(by("story-log"), h("p", { class: "says" }, "Asking …"));
    if (!this.dialog.open) this.dialog.showModal();
    this.#look();
  }

  async #look() {
    clearTimeout(this.timer);
    const { simulation, agent } = this;
    try {
      const answer = await ask(`/admin/v1/simulations/${encodeURIComponent(simulation)}/agents/${encodeURIComponent(agent)}/story`);
      const story = await answer.json();
      if (agent === this.agent && this.dialog.open) this.#show(story);
    } catch (error) {
      put(by("story-log"), h("p", { class: "says" }, `It could not be had: ${error.message}`));
    }
    if (this.dialog.open) this.timer = setTimeout(() => this.#look(), AGAIN_MS);
  }

  #show(story) {
    const known = [...this.state.agents.values()].find((one) => one.name === this.agent);
    const facts = known ? [
      ["Calls next", when(this.state, known)],
      ["That is known by", SOURCES[known.source] || "nobody yet"],
      ["Its memory", `${PLACES[known.place]}${known.engine ? ` (${known.engine})` : ""}`],
    ] : [];
    const who = story.recognised;
    facts.push(["Who it is", who ? `recognised by ${who.source}, ${percent(who.confidence)} sure: ${who.why}` : "said outright, or long ago"]);
    put(by("story-facts"), h("dl", { class: "facts" }, facts.flatMap(([name, text]) => [h("dt", null, name), h("dd", null, text)])));
    const lines = [
      ...story.calls.map((one) => [one.ago_s, called(one)]),
      ...story.moves.map((one) => [one.ago_s, moved(one)]),
      ...story.estimates.map((one) => [one.ago_s, expected(one)]),
    ].sort((one, other) => one[0] - other[0]);
    put(by("story-log"), lines.length
      ? h("ol", { class: "log" }, lines.map(([at, text]) => h("li", null, h("time", null, ago(at)), h("div", null, text))))
      : h("p", { class: "says" }, "Nothing: only agents that called of late have a story."));
  }
}

function called(one) {
  const found = one.cached_tokens === null
    ? one.prompt_tokens === null ? "The engine does not say what it found." : `${number(one.prompt_tokens)} prompt tokens; the engine does not say how many were cached.`
    : `${number(one.cached_tokens)} of ${number(one.prompt_tokens)} prompt tokens were cached.`;
  const miss = one.miss ? CAUSES[one.miss] : null;
  return [
    h("span", { class: one.outcome === "done" ? "what" : "what failed" }, one.outcome === "done" ? "Called" : `Called, and the call ended as ${one.outcome.replaceAll("_", " ")}`),
    ` on ${one.engine}${one.adapter ? ` with the adapter ${one.adapter}` : ""}. ${found} `,
    miss ? h("span", { class: "failed" }, `${miss[0]}. `) : null,
    miss ? h("span", { class: "why" }, miss[1]) : null,
    one.rank === null ? null : h("span", { class: "why" }, ` It stood at place ${number(one.rank + 1)} of the order then.`),
  ];
}

function moved(one) {
  return [
    h("span", { class: "what" }, MOVES[one.move] || one.move),
    ` on ${one.engine}`,
    one.problem ? h("span", { class: "failed" }, `, and that failed: ${one.problem}`) : one.result ? h("span", { class: "why" }, `: ${RESULTS[one.result] || one.result}`) : "",
  ];
}

function expected(one) {
  const when_ = one.distance === null ? "not again" : one.distance < 0.05 ? "now" : one.unit === "seconds" ? `in ${seconds(one.distance)}` : `in ${Math.round(one.distance * 10) / 10} ${CLOCKS[one.unit]}`;
  return [h("span", { class: "what" }, "Expected"), ` ${when_}`, h("span", { class: "why" }, `, by ${SOURCES[one.source] || one.source}`)];
}
