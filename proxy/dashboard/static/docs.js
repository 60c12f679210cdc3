// The admin API as a page, out of its own description.

import { by, h } from "./dom.js";

const VERBS = ["get", "put", "post", "patch", "delete"];
const LONGEST = 4000; // of an example

const described = await (await fetch("/openapi.json")).json();

function resolved(schema) {
  if (schema?.$ref) return described.components.schemas[schema.$ref.split("/").pop()];
  return schema;
}

function typed(schema) {
  if (!schema) return "";
  if (schema.$ref) return resolved(schema).enum ? typed(resolved(schema)) : schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(typed).join(" or ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.type === "array") return `list of ${typed(schema.items) || "anything"}`;
  return schema.type || "anything";
}

/** Of a body: [media type, example as text, its fields]. */
function shown(content) {
  return Object.entries(content || {}).map(([media, told]) => {
    const schema = resolved(told.schema);
    const example = told.example ?? schema?.example ?? schema?.examples?.[0];
    const text = example === undefined ? "" : typeof example === "string" ? example : JSON.stringify(example, null, 2);
    return [media, text.length > LONGEST ? `${text.slice(0, LONGEST)}\n…` : text, schema];
  });
}

function fields(schema) {
  const known = Object.entries(schema?.properties || {});
  if (!known.length) return null;
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Fields" }, h("table", null,
    h("thead", null, h("tr", null, ["Field", "Type", "Meaning"].map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", null, known.map(([name, one]) => h("tr", null, h("td", null, h("code", null, name), schema.required?.includes(name) ? "" : " (may be left out)"), h("td", null, typed(one)), h("td", null, one.description || ""))))));
}

function curl(verb, path, operation) {
  const body = shown(operation.requestBody?.content)[0];
  const filled = path.replace(/\{(\w+)\}/g, (_, name) => {
    const told = operation.parameters?.find((one) => one.name === name);
    return told?.examples?.[0] ?? told?.schema?.examples?.[0] ?? told?.example ?? name.toUpperCase();
  });
  const parts = ["curl", verb === "get" ? "" : `-X ${verb.toUpperCase()}`, `${location.origin}${filled}`];
  if (body?.[1]) parts.push(`-H 'Content-Type: ${body[0]}' -d '${body[1].replace(/\n\s*/g, " ").replaceAll("'", "'\\''")}'`);
  return parts.filter(Boolean).join(" ");
}

function route(verb, path, operation) {
  const bodies = shown(operation.requestBody?.content);
  const title = (operation.description || operation.summary || "").split("\n\n")[0];
  return h("details", { id: operation.operationId, "data-find": `${verb} ${path} ${title}`.toLowerCase() },
    h("summary", null, h("span", { class: "verb" }, verb.toUpperCase()), h("code", null, path), h("span", null, title.split(/(?<=\.)\s/)[0])),
    h("div", null,
      h("p", null, operation.description || operation.summary || ""),
      h("pre", { tabindex: 0 }, curl(verb, path, operation)),
      operation.parameters?.length ? [h("h3", null, "What the address says"), h("table", null, h("tbody", null, operation.parameters.map((one) => h("tr", null, h("td", null, h("code", null, one.name)), h("td", null, `${one.in}, ${typed(one.schema)}${one.schema?.default === undefined || one.schema.default === null ? "" : `, by default ${JSON.stringify(one.schema.default)}`}`), h("td", null, one.description || "")))))] : null,
      bodies.map(([media, , schema]) => [h("h3", null, `What is sent (${media})`), fields(schema)]),
      Object.entries(operation.responses).filter(([status]) => status.startsWith("2")).map(([status, one]) => [
        h("h3", null, `${status}: ${one.description}`),
        shown(one.content).map(([, example, schema]) => [example ? h("pre", { tabindex: 0 }, example) : null, fields(schema)]),
      ])));
}

const sections = new Map();
for (const [path, methods] of Object.entries(described.paths)) {
  for (const verb of VERBS) {
    const operation = methods[verb];
    if (!operation) continue;
    const tag = operation.tags?.[0] || "other";
    if (!sections.has(tag)) sections.set(tag, []);
    sections.get(tag).push(route(verb, path, operation));
  }
}
by("about").textContent = `${described.info.description} Version ${described.info.version}.`;
by("contents").append(...[...sections].map(([tag, routes]) => h("li", null, h("a", { href: `#tag-${tag}` }, tag), ` (${routes.length})`)));
by("routes").append(...[...sections].map(([tag, routes]) => h("section", { "aria-labelledby": `tag-${tag}` }, h("h2", { id: `tag-${tag}` }, tag), routes)));
by("filter").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  for (const one of document.querySelectorAll("details")) one.hidden = !one.dataset.find.includes(text);
  for (const one of document.querySelectorAll("#routes section")) one.hidden = !one.querySelector("details:not([hidden])");
});
