// Lays out openapi.json: operations by tag, each with parameters, body, answers and examples. Text only ever becomes
// text nodes.
"use strict";

const METHODS = ["get", "head", "put", "post", "patch", "delete"];
const DEPTH_MAX = 6;

/** An element with attributes and children; strings become text. */
function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Paragraphs, and `code` between backticks. */
function prose(text) {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) => el("p", {}, inline(paragraph)));
}

function inline(text) {
  return (text || "").split(/(`[^`]+`)/).map((piece) =>
    piece.startsWith("`") && piece.length > 2 ? el("code", {}, piece.slice(1, -1)) : piece);
}

function refName(schema) {
  return schema && schema.$ref ? schema.$ref.split("/").pop() : null;
}

/** A word or two for a schema: `string`, `File[]`, `integer or null`. */
function typeOf(schema) {
  if (!schema) return "any";
  const name = refName(schema);
  if (name) return name;
  if (schema.oneOf || schema.anyOf) return (schema.oneOf || schema.anyOf).map(typeOf).join(" or ");
  if (schema.allOf) return schema.allOf.map(typeOf).join(" and ");
  const types = [].concat(schema.type || "any").map((type) => {
    if (type === "array") return `${typeOf(schema.items)}[]`;
    if (type === "object" && schema.additionalProperties && schema.additionalProperties !== true) {
      return `map of ${typeOf(schema.additionalProperties)}`;
    }
    return type;
  });
  return types.join(" or ");
}

/** What else is known of a value: words, bounds, example. */
function notes(schema) {
  const found = [];
  if (schema.description) found.push(el("span", {}, inline(schema.description)));
  if (schema.enum) {
    const words = schema.enum.filter((word) => word !== null);
    found.push(el("span", { class: "words" }, words.map((word) => el("code", {}, String(word)))));
  }
  if (schema.maximum !== undefined) {
    found.push(el("span", { class: "muted" }, `${schema.minimum ?? 0} to ${schema.maximum}`));
  }
  const example = schema.example ?? (schema.examples || [])[0];
  if (example !== undefined) found.push(el("span", { class: "muted" }, "e.g. ", el("code", {}, show(example))));
  return found;
}

function show(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Fields of a schema, those of named schemas folded below them. */
function fields(api, schema, depth = 0) {
  const name = refName(schema);
  const whole = name ? (api.components.schemas[name] || {}) : schema || {};
  if (depth > DEPTH_MAX) return [];
  if (whole.type === "array") return fields(api, whole.items, depth);
  if (whole.allOf || whole.oneOf) {
    return (whole.allOf || whole.oneOf).flatMap((part) => fields(api, part, depth + 1));
  }
  if (!whole.properties) return [];
  const rows = Object.entries(whole.properties).map(([key, value]) => {
    const inner = fields(api, value.items || value, depth + 1);
    const required = (whole.required || []).includes(key);
    const named = api.components.schemas[refName(value)] || {};
    return el("li", {},
      el("div", {}, el("code", { class: "name" }, key), " ", el("span", { class: "type" }, typeOf(value)), " ",
        required ? null : el("span", { class: "muted" }, "optional"), " ", notes({ ...value, enum: value.enum ?? named.enum })),
      inner.length ? el("details", {}, el("summary", {}, "fields"), inner) : null);
  });
  return [el("ul", { class: "fields" }, rows)];
}

function parameters(operation) {
  const all = operation.parameters || [];
  if (!all.length) return [];
  const rows = all.map((parameter) => el("tr", {},
    el("td", {}, el("code", { class: "name" }, parameter.name)),
    el("td", {}, parameter.in),
    el("td", {}, el("span", { class: "type" }, typeOf(parameter.schema)), parameter.required ? "" : " optional"),
    el("td", {}, inline(parameter.description), " ",
      notes({ ...(parameter.schema || {}), description: "", example: parameter.example ?? parameter.schema?.example }))));
  const head = el("tr", {}, ["parameter", "in", "type", ""].map((text) => el("th", { scope: "col" }, text)));
  return [el("h4", {}, "Parameters"), el("table", {}, el("thead", {}, head), el("tbody", {}, rows))];
}

function content(api, holder) {
  return Object.entries(holder.content || {}).map(([mediaType, { schema }]) =>
    el("div", { class: "content" },
      el("code", {}, mediaType), " ", el("span", { class: "type" }, typeOf(schema)), fields(api, schema)));
}

function body(api, operation) {
  if (!operation.requestBody) return [];
  return [el("h4", {}, "Body"), ...content(api, operation.requestBody)];
}

function answers(api, operation) {
  const rows = Object.entries(operation.responses || {}).map(([status, response]) => {
    const failed = !/^[123]/.test(status);
    const headers = Object.keys(response.headers || {});
    return el("li", {},
      el("code", { class: failed ? "status failed" : "status" }, status), " ", inline(response.description),
      headers.length ? el("span", { class: "muted" }, ` headers: ${headers.join(", ")}`) : null,
      failed ? null : content(api, response));
  });
  return [el("h4", {}, "Answers"), el("ul", { class: "answers" }, rows)];
}

function operationNode(api, path, method, operation) {
  const permission = operation["x-usp-permission"];
  return el("details", { class: "operation", id: operation.operationId },
    el("summary", {},
      el("span", { class: `method ${method}` }, method.toUpperCase()), " ",
      el("code", { class: "path" }, path), " ", el("span", { class: "muted" }, operation.summary || "")),
    prose(operation.description),
    el("p", { class: "muted" }, permission === "public" ? "needs no token" : ["takes ", el("code", {}, permission)]),
    parameters(operation), body(api, operation), answers(api, operation));
}

function openNamed() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

function layOut(api) {
  document.title = `${api.info.title} ${api.info.version}`;
  document.getElementById("summary").replaceWith(el("div", { id: "summary" },
    prose(api.info.description),
    el("p", {}, "The same for machines: ", el("a", { href: "openapi.json" }, "openapi.json"))));
  const sections = new Map((api.tags || []).map((tag) => [tag.name, { tag, nodes: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS) {
      const operation = item[method];
      if (!operation || (method === "head" && item.get)) continue;
      const name = (operation.tags || ["other"])[0];
      if (!sections.has(name)) sections.set(name, { tag: { name }, nodes: [] });
      sections.get(name).nodes.push(operationNode(api, path, method, operation));
    }
  }
  for (const { tag, nodes } of sections.values()) {
    if (!nodes.length) continue;
    document.getElementById("contents").append(el("a", { href: `#tag-${tag.name}` }, tag.name));
    document.getElementById("operations").append(
      el("section", { id: `tag-${tag.name}` }, el("h2", {}, tag.name), prose(tag.description), nodes));
  }
  const schema = { $ref: "#/components/schemas/Problem" };
  document.getElementById("contents").append(el("a", { href: "#tag-problems" }, "problems"));
  document.getElementById("operations").append(
    el("section", { id: "tag-problems" }, el("h2", {}, "problems"),
      prose("Every failure, as `application/problem+json`."), fields(api, schema)));
  window.addEventListener("hashchange", openNamed);
  openNamed();
}

fetch("openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`answered ${answer.status}`))))
  .then(layOut)
  .catch((error) => {
    document.getElementById("summary").textContent = `openapi.json cannot be shown: ${error.message}`;
  });
