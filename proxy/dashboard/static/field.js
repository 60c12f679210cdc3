// Ten thousand agents on a canvas: colour is how soon, size is whether the memory is there.

import { by } from "./dom.js";
import { BUCKETS } from "./state.js";
import { PLACES, when } from "./words.js";

const SIZES = { device: 1, loading: 1, host: 0.58, gone: 0.34, unknown: 0.34 };
const LARGEST = 92;
const NAMED = 56; // from this pitch on there is room for names
const NAME_HEIGHT = 15;

export class FieldView {
  constructor(state, open, say) {
    this.state = state;
    this.open = open;
    this.say = say;
    this.canvas = by("field");
    this.tip = by("tip");
    this.shown = [];
    this.chosen = null; // the id of an agent
    this.columns = 1;
    this.pitch = this.across = LARGEST;
    this.pending = false;
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.canvas.addEventListener("pointerleave", () => (this.tip.hidden = true));
    this.canvas.addEventListener("click", (event) => {
      const agent = this.#at(event);
      if (agent) this.#choose(agent, true);
    });
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => {
      this.tip.hidden = true;
      this.draw();
    });
    this.canvas.addEventListener("focus", () => this.draw());
  }

  /** `shown`: the agents, in order. */
  show(shown) {
    this.shown = shown;
    this.draw();
  }

  draw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.#draw();
    });
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    const scale = Math.min(devicePixelRatio || 1, 2);
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const count = this.shown.length;
    if (!count) return;
    let pitch = Math.min(LARGEST, Math.sqrt((width * height) / count));
    while (Math.floor(width / pitch) * Math.floor(height / pitch) < count) pitch *= 0.985;
    this.columns = Math.floor(width / pitch);
    this.pitch = pitch;
    this.across = Math.min(width / this.columns, pitch * 1.4); // no edge is left empty
    const styles = getComputedStyle(document.documentElement);
    const colors = BUCKETS.map((one) => styles.getPropertyValue(one.color).trim());
    const named = pitch >= NAMED;
    const most = named ? pitch - NAME_HEIGHT - 12 : pitch * (pitch > 9 ? 0.82 : 0.86);
    const above = named ? NAME_HEIGHT / 2 : 0;
    // One colour after the other: to change it is what costs.
    const piles = BUCKETS.map(() => []);
    this.shown.forEach((agent, place) => piles[this.state.bucket(agent)].push(place));
    piles.forEach((pile, bucket) => {
      pen.fillStyle = pen.strokeStyle = colors[bucket];
      pen.beginPath();
      const rings = [];
      for (const place of pile) {
        const agent = this.shown[place];
        const side = Math.max(1.2, most * (SIZES[agent.place] ?? 0.34));
        const x = (place % this.columns) * this.across + (this.across - side) / 2;
        const y = Math.floor(place / this.columns) * pitch + (pitch - side) / 2 - above;
        if (agent.place === "loading") rings.push([x, y, side]);
        else if (side > 8) pen.roundRect(x, y, side, side, side * 0.18);
        else pen.rect(x, y, side, side);
      }
      pen.fill();
      pen.lineWidth = Math.min(4, Math.max(1, pitch * 0.12));
      for (const [x, y, side] of rings) pen.strokeRect(x + pen.lineWidth / 2, y + pen.lineWidth / 2, side - pen.lineWidth, side - pen.lineWidth);
    });
    if (named) this.#name(pen, styles.getPropertyValue("--soft").trim());
    const place = this.shown.findIndex((one) => one.id === this.chosen);
    if (place >= 0 && (document.activeElement === this.canvas || by("story").open)) {
      pen.strokeStyle = styles.getPropertyValue("--ink").trim();
      pen.lineWidth = 2;
      pen.strokeRect((place % this.columns) * this.across, Math.floor(place / this.columns) * pitch, this.across, pitch);
    }
  }

  #name(pen, color) {
    pen.fillStyle = color;
    pen.font = "12px system-ui, sans-serif";
    pen.textAlign = "center";
    this.shown.forEach((agent, place) => {
      let text = agent.name;
      while (text.length > 3 && pen.measureText(text).width > this.across - 6) text = `${text.replace(/…$/, "").slice(0, -1)}…`;
      pen.fillText(text, ((place % this.columns) + 0.5) * this.across, (Math.floor(place / this.columns) + 1) * this.pitch - 5);
    });
  }

  #at(event) {
    const box = this.canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left) / this.across);
    const row = Math.floor((event.clientY - box.top) / this.pitch);
    return column < this.columns && column >= 0 && row >= 0 ? this.shown[row * this.columns + column] : undefined;
  }

  #hover(event) {
    const agent = this.#at(event);
    this.tip.hidden = !agent;
    if (agent) this.#tell(agent);
  }

  #tell(agent) {
    const place = this.shown.indexOf(agent);
    const name = document.createElement("b");
    name.textContent = agent.name;
    this.tip.replaceChildren(name, `${when(this.state, agent)}; memory ${PLACES[agent.place]}`);
    this.tip.hidden = false;
    const x = (place % this.columns) * this.across + 14;
    const y = Math.floor(place / this.columns) * this.pitch + this.pitch + 16;
    const box = this.canvas.parentElement;
    this.tip.style.left = `${Math.max(4, Math.min(x, box.clientWidth - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${y + this.tip.offsetHeight > box.clientHeight ? y - this.tip.offsetHeight - this.pitch - 8 : y}px`;
  }

  #choose(agent, open) {
    this.chosen = agent.id;
    this.draw();
    if (open) this.open(agent.name);
    else {
      this.#tell(agent);
      this.say(`${agent.name}: ${when(this.state, agent)}; memory ${PLACES[agent.place]}`);
    }
  }

  #key(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns };
    const here = this.shown.findIndex((one) => one.id === this.chosen);
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      if (here >= 0) this.#choose(this.shown[here], true);
      return;
    }
    let there = here + (steps[event.key] ?? 0);
    if (event.key === "Home") there = 0;
    else if (event.key === "End") there = this.shown.length - 1;
    else if (!(event.key in steps)) return;
    event.preventDefault();
    if (here < 0) there = 0;
    const agent = this.shown[Math.max(0, Math.min(this.shown.length - 1, there))];
    if (agent) this.#choose(agent, false);
  }
}
