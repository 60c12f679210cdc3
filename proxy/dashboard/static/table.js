// The same agents as text: the way in for whoever does not see the field, or looks for one of them.

import { by, h, put } from "./dom.js";
import { PLACES, SOURCES, number, percent, when } from "./words.js";

const PAGE = 50;

export class TableView {
  constructor(state, open) {
    this.state = state;
    this.page = 0;
    this.shown = [];
    this.rows = by("rows");
    by("page-back").addEventListener("click", () => this.#turn(-1));
    by("page-on").addEventListener("click", () => this.#turn(1));
    this.rows.addEventListener("click", (event) => {
      const name = event.target.closest("button")?.textContent;
      if (name) open(name);
    });
  }

  show(shown) {
    this.shown = shown;
    this.draw();
  }

  draw() {
    const pages = Math.max(1, Math.ceil(this.shown.length / PAGE));
    this.page = Math.min(this.page, pages - 1);
    const first = this.page * PAGE;
    const page = this.shown.slice(first, first + PAGE);
    const focused = this.rows.contains(document.activeElement) ? document.activeElement.textContent : null;
    put(this.rows, page.map((agent) => this.#row(agent)));
    if (focused !== null && !this.rows.contains(document.activeElement)) {
      [...this.rows.querySelectorAll("button")].find((one) => one.textContent === focused)?.focus();
    }
    const says = this.shown.length
      ? `${number(first + 1)} to ${number(first + page.length)} of ${number(this.shown.length)}`
      : "no agent is like that";
    if (by("page-says").textContent !== says) by("page-says").textContent = says;
    by("page-back").disabled = this.page === 0;
    by("page-on").disabled = this.page >= pages - 1;
  }

  #turn(by_) {
    this.page += by_;
    this.draw();
  }

  #row(agent) {
    return h(
      "tr",
      null,
      h("td", null, h("button", { type: "button" }, agent.name)),
      h("td", null, when(this.state, agent)),
      h("td", null, PLACES[agent.place] || agent.place),
      h("td", null, agent.engine || "none yet"),
      h("td", null, SOURCES[agent.source] || "nobody"),
      h("td", null, agent.confidence === null ? "said outright" : `${percent(agent.confidence)} sure`),
    );
  }
}
