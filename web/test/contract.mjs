// The OpenAPI document as a judge: finds the operation of a request, and says what of a body does not fit its schema.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { parse } from 'yaml';

const here = dirname(fileURLToPath(import.meta.url));
export const document = parse(readFileSync(join(here, '../../src/api/openapi.yaml'), 'utf8'));

const ajv = new Ajv2020.default({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema({ $id: 'api:', ...document }, 'api:');

const deref = (node) => (node?.$ref ? node.$ref.slice(2).split('/').reduce((at, key) => at[key], document) : node);
const templates = Object.entries(document.paths).map(([path, item]) => ({
  path, item, parts: path.split('/').filter(Boolean), literals: path.split('/').filter((p) => p && !p.startsWith('{')).length,
}));

/** The operation of a request below /v1; templates with more literal parts win: /domains/{domain}/logs before /domains/{domain}/{action}. */
export function findOperation(method, pathname) {
  const parts = pathname.replace(/^\/v1/, '').split('/').filter(Boolean);
  const fitting = templates
    .filter((t) => t.parts.length === parts.length && t.parts.every((p, i) => p.startsWith('{') || p === parts[i]) && t.item[method.toLowerCase()])
    .sort((a, b) => b.literals - a.literals)[0];
  if (!fitting) return undefined;
  const operation = fitting.item[method.toLowerCase()];
  const params = Object.fromEntries(fitting.parts.flatMap((p, i) => (p.startsWith('{') ? [[p.slice(1, -1), decodeURIComponent(parts[i])]] : [])));
  return { path: fitting.path, operation, params, role: operation['x-role'] };
}

const compiled = new Map();
function validator(schema) {
  const text = JSON.stringify(schema).replaceAll('"#/', '"api:#/');
  if (!compiled.has(text)) compiled.set(text, ajv.compile(JSON.parse(text)));
  return compiled.get(text);
}

/** Errors as a list of { field, text }; empty when the value fits. */
export function errorsOf(schema, value) {
  const check = validator(schema);
  if (check(value)) return [];
  return check.errors.map((e) => ({
    field: [e.instancePath.slice(1).replaceAll('/', '.'), e.params.additionalProperty ?? (e.keyword === 'required' ? e.params.missingProperty : '')].filter(Boolean).join('.'),
    text: e.message,
  }));
}

export function requestSchema(operation) {
  return deref(operation.requestBody)?.content?.['application/json']?.schema;
}

/** What an answer must look like; undefined when the document says nothing about its JSON. */
export function responseSchema(operation, status) {
  const response = deref(operation.responses[String(status)] ?? (status >= 400 ? operation.responses.default : undefined));
  if (!response) return { missing: true };
  const content = response.content ?? {};
  return { schema: (content['application/json'] ?? content['application/problem+json'])?.schema };
}
