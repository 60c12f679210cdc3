// Elements, made without HTML in strings: names of agents come from outside.

export const by = (id) => document.getElementById(id);

export function h(tag, props, ...children) {
  const svg = tag === "svg" || tag === "path";
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "width%") node.style.width = `${value}%`;
    else if (name === "height%") node.style.height = `${value}%`;
    else if (name === "color") node.style.background = `var(${value})`;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return node;
}

/** Shows these in `node`. What is the same already is left alone, so that whoever reads or selects it is not disturbed. */
export function put(node, ...children) {
  const fresh = h("div", null, ...children);
  if (node.shown === fresh.innerHTML) return;
  node.shown = fresh.innerHTML;
  node.replaceChildren(...fresh.childNodes);
}

/** `parts`: [[share of 1, class], …] */
export function bar(parts, label, thick = false) {
  const spans = parts.map(([share, kind]) => h("span", { class: kind, "width%": +(share * 100).toFixed(2) }));
  return h("div", { class: thick ? "bar thick" : "bar", role: "img", "aria-label": label }, spans);
}
