// A server that keeps the contract with a made-up world behind it. Requests and its own answers are both judged by the OpenAPI
// document, so that the console is never developed against something a real server would not say.
import { createServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';
import { extname, join, normalize } from 'node:path';
import { WebSocketServer } from 'ws';
import { errorsOf, findOperation, requestSchema, responseSchema } from '../contract.mjs';
import { handlers } from './handlers.mjs';
import { attachTerminal } from './shell.mjs';
import { Problem } from './problem.mjs';

const rank = { viewer: 0, operator: 1, admin: 2 };
const types = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' };
export const contentSecurityPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

/** Serves `root` and the API; answers with its address and a way to end it. */
export async function startMock({ world, root, port = 0 }) {
  const faults = [];
  // `open` names who a caller without a token is, as on a Unix socket.
  const context = { world, faults, broken: false, open: undefined };
  const server = createServer((request, response) => void serve(context, root, request, response));
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has('nagaya.terminal') ? 'nagaya.terminal' : false) });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url, 'http://mock');
    const refuse = (status) => socket.end(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
    try {
      if (context.broken) return refuse('503 Service Unavailable');
      const secret = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/).find((p) => p.startsWith('nagaya.bearer.'))?.slice('nagaya.bearer.'.length);
      const found = findOperation('GET', url.pathname);
      if (!found?.operation['x-websocket']) return refuse('404 Not Found');
      const caller = world.tokens.find((t) => t.secret === secret) ?? context.open;
      if (!caller) return refuse('401 Unauthorized');
      if (rank[caller.role] < rank[found.role]) return refuse('403 Forbidden');
      const entry = world.domains.get(found.params.domain);
      if (!entry) return refuse('404 Not Found');
      if (entry.domain.state !== 'running') return refuse('409 Conflict');
      sockets.handleUpgrade(request, socket, head, (ws) => attachTerminal(ws, world, entry, url));
    } catch (error) {
      faults.push(String(error.stack));
      refuse('500 Internal Server Error');
    }
  });
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`, faults, context,
    /** Cuts every connection and refuses new ones until it is called with false. */
    breakDown(on) {
      context.broken = on;
      if (on) server.closeAllConnections();
      for (const client of sockets.clients) client.terminate();
    },
    async close() {
      world.close();
      for (const client of sockets.clients) client.terminate();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function serve(context, root, request, response) {
  if (context.broken) return void request.socket.destroy();
  const url = new URL(request.url, 'http://mock');
  try {
    if (url.pathname.startsWith('/v1/')) await serveApi(context, url, request, response);
    else serveFile(root, url.pathname, response);
  } catch (error) {
    const problem = error instanceof Problem ? error : new Problem(500, 'The mock failed', String(error.stack));
    if (problem.status >= 500) context.faults.push(`${request.method} ${request.url}: ${problem.detail ?? problem.title}`);
    if (response.headersSent) return void response.destroy();
    response.writeHead(problem.status, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem.body()));
  }
}

function serveFile(root, pathname, response) {
  const path = join(root, normalize(pathname === '/' ? '/index.html' : pathname));
  if (!path.startsWith(root) || !existsSync(path)) return void response.writeHead(404).end('no such file');
  response.writeHead(200, {
    'content-type': types[extname(path)] ?? 'application/octet-stream', 'content-security-policy': contentSecurityPolicy, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer',
  }).end(readFileSync(path));
}

async function serveApi(context, url, request, response) {
  const { world } = context;
  const found = findOperation(request.method, url.pathname);
  if (!found) throw new Problem(404, 'No such thing', `${request.method} ${url.pathname}`);
  const secret = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
  const caller = world.tokens.find((t) => t.secret === secret && !(t.expires && Date.parse(t.expires) < Date.now())) ?? context.open;
  if (!caller) throw new Problem(401, 'Who are you?', 'a token is needed');
  if (caller.projects && found.operation['x-scope'] === 'host') throw new Problem(403, 'Not allowed', 'this is for callers who see the whole host');
  if (rank[caller.role] < rank[found.role]) throw new Problem(403, 'Not allowed', `this needs the role ${found.role}`);

  const body = await readBody(request);
  const schema = requestSchema(found.operation);
  if (schema && body !== undefined) {
    const [first] = errorsOf(schema, body);
    if (first) throw new Problem(400, 'Wrong request', `${first.field || 'the body'} ${first.text}`, { field: first.field || undefined });
  } else if (schema && found.operation.requestBody.required) throw new Problem(400, 'Wrong request', 'a body is needed');

  const handler = handlers[found.operation.operationId];
  if (!handler) throw new Problem(500, 'The mock lacks this', found.operation.operationId);
  const answer = await handler({ world, params: found.params, query: url.searchParams, body, caller, request, response });
  if (answer === undefined) return; // it streams by itself
  const { status = 200, headers = {}, value } = answer;
  const expected = responseSchema(found.operation, status);
  if (expected.missing) throw new Problem(500, 'The mock breaks the contract', `${found.operation.operationId} has no answer ${status}`);
  if (expected.schema && value !== undefined) {
    const wrong = errorsOf(expected.schema, JSON.parse(JSON.stringify(value)));
    if (wrong.length > 0) throw new Problem(500, 'The mock breaks the contract', `${found.operation.operationId}: ${JSON.stringify(wrong)}`);
  }
  response.writeHead(status, { ...(value === undefined ? {} : { 'content-type': 'application/json' }), 'cache-control': 'no-store', ...headers });
  response.end(value === undefined ? undefined : JSON.stringify(value));
}

async function readBody(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  if (pieces.length === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(pieces).toString('utf8'));
  } catch {
    throw new Problem(400, 'Wrong request', 'the body is not JSON');
  }
}
