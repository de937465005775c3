"use strict";
const make = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text ?? "", ...more });

// The document's texts are Markdown of which only `code` and blank lines are used; nothing is ever read as HTML.
function prose(tag, text, more) {
  const made = make(tag, "", more);
  const parts = (text ?? "").replace(/([^\n])\n(?!\n)/g, "$1 ").split("`");
  made.append(...parts.map((part, index) => (index % 2 ? make("code", part) : part)));
  return made;
}

function field(parameter) {
  const schema = parameter.schema.anyOf ? parameter.schema.anyOf[0] : parameter.schema;
  const label = make("label", parameter.name + (parameter.required ? " *" : ""));
  const input = schema.enum ? make("select") : make("input", "", { type: "text" });
  if (schema.enum) for (const value of ["", ...schema.enum]) input.append(make("option", value, { value }));
  input.name = parameter.name;
  const example = parameter.example ?? (parameter.schema.examples ?? schema.examples ?? parameter.examples ?? [])[0];
  if (parameter.required && example !== undefined) input.value = example;
  else if (schema.default !== undefined && !schema.enum) input.placeholder = schema.default;
  return [label, input, prose("small", parameter.description)];
}

function operation(path, method, spec) {
  const box = make("details");
  const head = make("summary");
  head.append(make("b", `${method.toUpperCase()} ${path}`), prose("span", "  " + spec.summary));
  box.append(head, prose("p", spec.description, { className: "text" }));
  const form = make("form");
  for (const parameter of spec.parameters ?? []) form.append(...field(parameter));
  form.append(make("button", "Send"));
  const shown = make("p");
  const answer = make("pre", JSON.stringify(spec.responses["200"].content["application/json"].example, null, 2));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const url = path + (query.size ? "?" + query : "");
    shown.textContent = "GET " + url;
    const response = await fetch(url);
    const text = await response.text();
    try { answer.textContent = `HTTP ${response.status}\n${JSON.stringify(JSON.parse(text), null, 2)}`; }
    catch { answer.textContent = `HTTP ${response.status}\n${text}`; }
  });
  box.append(form, shown, answer);
  return box;
}

async function main() {
  const spec = await (await fetch("/openapi.json")).json();
  document.getElementById("version").textContent = `version ${spec.info.version}`;
  document.getElementById("intro").replaceWith(prose("p", spec.info.description, { id: "intro", className: "text" }));
  document.getElementById("ws-url").textContent = spec["x-websocket"].url;
  const list = document.getElementById("operations");
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, one] of Object.entries(methods)) list.append(operation(path, method, one));
}
main();
