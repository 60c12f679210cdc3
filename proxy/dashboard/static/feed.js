// The live feed. EventSource cannot send a key, so the stream of events is read by hand.

const SILENT_MS = 8000; // the proxy says something each second
const LONGEST_MS = 10000;

export const key = {
  get: () => sessionStorage.getItem("scalesim-key") || "",
  set: (value) => sessionStorage.setItem("scalesim-key", value),
  forget: () => sessionStorage.removeItem("scalesim-key"),
};

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** Asks the admin API. Raises Refused with what it says. */
export async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (key.get()) headers["X-Admin-Key"] = key.get();
  if (options.body) headers["Content-Type"] = "application/json";
  const answer = await fetch(path, { ...options, headers, cache: "no-store" });
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, problem.detail || answer.statusText);
  }
  return answer;
}

/** One stream after the other, until `close`. `on` has picture, change, live, lost(why, waitMs) and locked(why). */
export class Feed {
  constructor(simulation, on) {
    this.simulation = simulation;
    this.on = on;
    this.last = "";
    this.wait = 500;
    this.closed = false;
    this.run();
  }

  close() {
    this.closed = true;
    this.stop?.abort();
  }

  async run() {
    while (!this.closed) {
      let why = "the connection ended";
      try {
        await this.listen();
      } catch (error) {
        if (this.closed) return;
        if (error instanceof Refused && error.status === 401) {
          this.closed = true;
          this.on.locked(error.message);
          return;
        }
        why = error instanceof Refused ? error.message : "no answer";
      }
      if (this.closed) return;
      this.on.lost(why, this.wait);
      await new Promise((resolve) => setTimeout(resolve, this.wait));
      this.wait = Math.min(this.wait * 2, LONGEST_MS);
    }
  }

  async listen() {
    this.stop = new AbortController();
    const query = this.simulation ? `?simulation=${encodeURIComponent(this.simulation)}` : "";
    const headers = this.last ? { "Last-Event-ID": this.last } : {};
    let watchdog = setTimeout(() => this.stop.abort(), SILENT_MS);
    try {
      const answer = await ask(`/admin/v1/live${query}`, { headers, signal: this.stop.signal });
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done || this.closed) return;
        clearTimeout(watchdog);
        watchdog = setTimeout(() => this.stop.abort(), SILENT_MS);
        text += value;
        let end;
        while ((end = text.indexOf("\n\n")) >= 0) {
          this.take(text.slice(0, end));
          text = text.slice(end + 2);
        }
      }
    } finally {
      clearTimeout(watchdog);
    }
  }

  take(block) {
    let event = "message";
    let data = "";
    for (const line of block.split("\n")) {
      if (line.startsWith("data: ")) data += line.slice(6);
      else if (line.startsWith("event: ")) event = line.slice(7);
      else if (line.startsWith("id: ")) this.last = line.slice(4);
    }
    if (!data) return;
    this.wait = 500;
    this.on.live();
    this.on[event]?.(JSON.parse(data));
  }
}
