// Makes src/generated from the OpenAPI document: the types every request is checked against, and the role each operation asks for.
// The console cannot drift from the contract: a changed field or role changes what compiles and which buttons show.
import { mkdirSync, readFileSync, writeFileSync, existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import openapiTS, { astToString } from 'openapi-typescript';
import { parse } from 'yaml';

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, '../../src/api/openapi.yaml');
const out = join(here, '../src/generated');
const text = readFileSync(source, 'utf8');
const document = parse(text);

function writeIfChanged(name, content) {
  const path = join(out, name);
  if (!existsSync(path) || readFileSync(path, 'utf8') !== content) writeFileSync(path, content);
}

const roles = {};
// Operations on the host itself, refused to callers who are confined to projects.
const ofHost = [];
for (const path of Object.values(document.paths)) {
  for (const operation of Object.values(path)) {
    if (!operation.operationId) continue;
    roles[operation.operationId] = operation['x-role'];
    if (operation['x-scope'] === 'host') ofHost.push(operation.operationId);
  }
}
const { maxLength, pattern } = document.components.schemas.Name;
const schemas = document.components.schemas;

mkdirSync(out, { recursive: true });
writeIfChanged('schema.d.ts', '// Generated from src/api/openapi.yaml.\n' + astToString(await openapiTS(document, { defaultNonNullable: false, emptyObjectsUnknown: true })));
writeIfChanged(
  'contract.ts',
  `// Generated from src/api/openapi.yaml.
export const roleOf = ${JSON.stringify(roles, null, 2)} as const;
export type OperationId = keyof typeof roleOf;
export const ofHost: readonly OperationId[] = ${JSON.stringify(ofHost)};
export const namePattern = new RegExp(${JSON.stringify(pattern)});
export const nameMaxLength = ${maxLength};
export const restartPolicies = ${JSON.stringify(schemas.Restart.properties.policy.enum)} as const;
export const domainStates = ${JSON.stringify(schemas.State.enum)} as const;
`,
);
