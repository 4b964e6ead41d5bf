// What each operation of the contract does to the world.
import { Problem } from './problem.mjs';
import { hex } from './world.mjs';

const GiB = 1024 ** 3;

const entryOf = (world, name) => world.domains.get(name) ?? fail(404, 'No such domain', `there is no domain ${name}`);
function fail(status, title, detail, more) {
  throw new Problem(status, title, detail, more);
}
const tag = (entry) => `"${entry.version}"`;
const seen = (caller, project) => !caller.projects || caller.projects.includes(project);
const accepted = (operation) => ({ status: 202, headers: { location: `/v1/operations/${operation.id}` }, value: operation });
const detailOf = (entry) => ({ ...entry.domain, definition: entry.definition });
const nowIso = () => new Date().toISOString();

const verbs = {
  start: { from: ['created', 'stopped', 'failed'], to: 'running', event: 'started', ms: 900 },
  stop: { from: ['running'], to: 'stopped', event: 'stopped', ms: 1200, via: 'stopping' },
  restart: { from: ['running'], to: 'running', event: 'started', ms: 1800, via: 'stopping' },
  kill: { from: ['running', 'paused', 'stopping'], to: 'stopped', event: 'stopped', ms: 200 },
  pause: { from: ['running'], to: 'paused', event: 'paused', ms: 200 },
  resume: { from: ['paused'], to: 'running', event: 'resumed', ms: 200 },
};

function begin(world, entry) {
  const { domain } = entry;
  domain.state = 'running';
  delete domain.reason;
  delete domain.exitCode;
  delete domain.finished;
  domain.started = nowIso();
  if (domain.kind === 'vm') domain.engine = entry.definition.engine === 'kvm' ? 'kvm' : 'soft';
  entry.memory ||= (domain.limits?.memory || 384 * 1024 ** 2) * 0.6;
  entry.load ||= 0.2;
  entry.cpuNs = entry.readBytes = entry.writeBytes = entry.rxBytes = entry.txBytes = 0;
  entry.at = Date.now();
  if (!domain.addresses) domain.addresses = [`10.31.0.${40 + world.domains.size}`];
}

export const handlers = {
  getInfo: ({ world, caller }) => ({ value: info(world, caller) }),

  listDomains: ({ world, query, caller }) => ({
    value: [...world.domains.values()].map((e) => e.domain)
      .filter((d) => seen(caller, d.project) && ['kind', 'state', 'project'].every((k) => !query.get(k) || d[k] === query.get(k)))
      .sort((a, b) => a.name.localeCompare(b.name)),
  }),
  createDomain: ({ world, body, query }) => {
    const name = body.name ?? `domain-${hex(world.random, 4)}`;
    if (world.domains.has(name)) fail(409, 'The name is taken', `there is a domain ${name} already`, { field: 'name', hint: 'Choose another name, or delete that one first.' });
    if (body.limits?.memory && body.limits.memory < 16 * 1024 ** 2) fail(422, 'Too little memory', 'less than 16 MiB will not start', { field: 'limits.memory' });
    const known = world.images.some((i) => i.name === body.image);
    const operation = world.operate('create', name, known ? 1600 : 3200, () => {
      if (/missing/.test(body.image)) throw { title: 'No such image', status: 404, detail: `the registry does not know ${body.image}`, field: 'image', hint: 'Check the spelling.' };
      const entry = world.put({ name, kind: body.kind ?? 'container', state: 'created', project: body.project ?? 'default', image: body.image, created: nowIso(), limits: body.limits ?? {}, labels: body.labels ?? {},
        ...(body.publish ? { ports: body.publish.map((p) => ({ host: Number(p.split(':').at(-2)), guest: Number.parseInt(p.split(':').at(-1)), protocol: p.endsWith('/udp') ? 'udp' : 'tcp' })) } : {}) }, body);
      entry.definition = { ...body, name, kind: entry.domain.kind, project: entry.domain.project };
      world.event('created', name, { image: body.image });
      if (query.get('start') === 'true') {
        begin(world, entry);
        world.event('started', name);
      }
    }, { cancellable: true, messages: known ? ['making its disk', 'starting'] : ['asking the registry', 'fetching layers', 'unpacking', 'starting'] });
    return accepted(operation);
  },
  getDomain: ({ world, params }) => {
    const entry = entryOf(world, params.domain);
    return { headers: { etag: tag(entry) }, value: detailOf(entry) };
  },
  updateDomain: ({ world, params, body, request }) => {
    const entry = entryOf(world, params.domain);
    const match = request.headers['if-match'];
    if (match && match !== tag(entry)) fail(412, 'It has changed', `${params.domain} was changed by somebody else`);
    if (body.limits?.cpus > 64) fail(422, 'Too many CPUs', 'this host has 2', { field: 'limits.cpus' });
    Object.assign(entry.definition, body);
    if (body.limits) entry.domain.limits = body.limits;
    if (body.labels) entry.domain.labels = body.labels;
    entry.version++;
    world.event('updated', params.domain);
    return { headers: { etag: tag(entry) }, value: detailOf(entry) };
  },
  deleteDomain: ({ world, params, query }) => {
    const entry = entryOf(world, params.domain);
    if (['running', 'paused', 'stopping'].includes(entry.domain.state) && query.get('force') !== 'true') fail(409, 'It is running', `${params.domain} is running`, { hint: 'Stop it first, or say force.' });
    return accepted(world.operate('delete', params.domain, 600, () => {
      world.event('removed', params.domain);
      world.domains.delete(params.domain);
    }));
  },
  actOnDomain: ({ world, params, body }) => {
    const entry = entryOf(world, params.domain);
    const { domain } = entry;
    if (params.action === 'rename') {
      const to = body?.name ?? fail(400, 'Wrong request', 'a name is needed', { field: 'name' });
      if (world.domains.has(to)) fail(409, 'The name is taken', `there is a domain ${to} already`, { field: 'name' });
      return accepted(world.operate('rename', params.domain, 200, () => {
        world.domains.delete(domain.name);
        domain.name = entry.definition.name = to;
        world.domains.set(to, entry);
        world.event('renamed', to, { from: params.domain });
      }));
    }
    const verb = verbs[params.action];
    if (!verb.from.includes(domain.state)) fail(409, 'Not in this state', `${domain.name} is ${domain.state}`);
    if (verb.via) domain.state = verb.via;
    return accepted(world.operate(params.action, domain.name, verb.ms, () => {
      if (params.action === 'start' || params.action === 'restart') begin(world, entry);
      domain.state = verb.to;
      if (verb.to === 'stopped') Object.assign(domain, { finished: nowIso(), exitCode: params.action === 'kill' ? 137 : 0 });
      world.event(verb.event, domain.name, verb.to === 'stopped' ? { exitCode: domain.exitCode } : {});
    }));
  },
  getLogs: ({ world, params, query, response, request }) => {
    const entry = entryOf(world, params.domain);
    const write = (l) => response.write(`${query.get('timestamps') === 'true' ? `${l.time} ` : ''}${l.text}\n`);
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' });
    response.flushHeaders();
    entry.log.slice(-Number(query.get('tail') ?? 1e6)).forEach(write);
    if (query.get('follow') !== 'true' || entry.domain.state !== 'running') return void response.end();
    let n = 0;
    const timer = setInterval(() => {
      const line = { time: nowIso(), text: `GET /item/${++n} 200 ${Math.floor(world.random() * 90)}ms` };
      entry.log.push(line);
      write(line);
      if (entry.domain.state !== 'running') response.end();
    }, 500);
    request.on('close', () => clearInterval(timer));
    response.on('close', () => clearInterval(timer));
  },
  getStats: ({ world, params }) => ({ value: world.stats(entryOf(world, params.domain)) }),
  listStats: ({ world, caller }) => ({
    value: Object.fromEntries([...world.domains.values()].filter((e) => ['running', 'paused', 'stopping'].includes(e.domain.state) && seen(caller, e.domain.project)).map((e) => [e.domain.name, world.stats(e)])),
  }),
  getProcesses: ({ world, params }) => ({ value: world.processes(entryOf(world, params.domain)) }),

  listImages: ({ world }) => ({ value: world.images.map((i) => ({ ...i, usedBy: users(world, (e) => e.domain.image === i.name) })) }),
  pullImage: ({ world, body }) => accepted(world.operate('pull', body.reference, 4000, () => {
    if (/missing/.test(body.reference)) throw { title: 'No such image', status: 404, detail: 'the registry does not know it' };
    world.images.push({ id: `sha256:${hex(world.random, 64)}`, name: body.reference, kind: 'oci', size: Math.round(40 * 1024 ** 2 * world.random()), created: nowIso() });
    world.event('image', undefined, { image: body.reference });
  }, { cancellable: true, messages: ['asking the registry', 'fetching layer 1 of 3', 'fetching layer 2 of 3', 'fetching layer 3 of 3', 'unpacking'] })),
  deleteImage: ({ world, params }) => removeFrom(world, 'images', 'image', (i) => i.id === params.image || i.name === params.image),

  listNetworks: ({ world }) => ({ value: world.networks.map((n) => ({ ...n, usedBy: users(world, (e) => e.definition.networks?.includes(n.name)) })) }),
  createNetwork: ({ world, body }) => {
    if (world.networks.some((n) => n.name === body.name)) fail(409, 'The name is taken', `there is a network ${body.name} already`, { field: 'name' });
    if (body.subnet && (!/^\d+(\.\d+){3}\/\d+$/.test(body.subnet) || Number(body.subnet.split('/')[1]) > 32)) fail(422, 'No subnet', `“${body.subnet}” is no subnet`, { field: 'subnet' });
    world.networks.push(body);
    world.event('network', undefined, { name: body.name, what: 'created' });
    return { status: 201, value: body };
  },
  deleteNetwork: ({ world, params }) => removeFrom(world, 'networks', 'network', (n) => n.name === params.network),

  listVolumes: ({ world }) => ({ value: world.volumes.map((v) => ({ ...v, usedBy: users(world, (e) => e.definition.volumes?.some((x) => x.startsWith(`${v.name}:`))) })) }),
  createVolume: ({ world, body }) => {
    if (world.volumes.some((v) => v.name === body.name)) fail(409, 'The name is taken', `there is a volume ${body.name} already`, { field: 'name' });
    const volume = { ...body, created: nowIso(), size: 0, path: `/var/lib/nagaya/volumes/${body.name}` };
    world.volumes.push(volume);
    world.event('volume', undefined, { name: body.name, what: 'created' });
    return { status: 201, value: volume };
  },
  deleteVolume: ({ world, params }) => removeFrom(world, 'volumes', 'volume', (v) => v.name === params.volume),

  listOperations: ({ world }) => ({ value: world.operations.slice(0, 50) }),
  getOperation: ({ world, params }) => ({ value: world.operations.find((o) => o.id === params.operation) ?? fail(404, 'No such operation', params.operation) }),
  cancelOperation: ({ world, params }) => {
    const operation = world.operations.find((o) => o.id === params.operation) ?? fail(404, 'No such operation', params.operation);
    if (!operation.cancellable) fail(409, 'Cannot be cancelled', `${operation.kind} has gone too far`);
    operation.cancel();
    return { status: 202, value: operation };
  },
  streamEvents: ({ world, query, request, response, caller }) => {
    const last = request.headers['last-event-id'] ?? query.get('since');
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.flushHeaders();
    response.write(': hello\n\n');
    const send = (e) => { if (!e.project || seen(caller, e.project)) response.write(`id: ${e.id}\ndata: ${JSON.stringify(e)}\n\n`); };
    if (last !== null && last !== undefined) world.events.filter((e) => e.id > Number(last)).forEach(send);
    world.on('event', send);
    response.on('close', () => world.off('event', send));
  },
  listTokens: ({ world }) => ({ value: world.tokens.map(({ secret, ...rest }) => rest) }),
  createToken: ({ world, body }) => {
    if (world.tokens.some((t) => t.name === body.name)) fail(409, 'The name is taken', `there is a token ${body.name} already`, { field: 'name' });
    const token = { ...body, created: nowIso(), secret: `ngy_${hex(world.random, 40)}` };
    world.tokens.push(token);
    return { status: 201, value: token };
  },
  deleteToken: ({ world, params }) => removeFrom(world, 'tokens', 'token', (t) => t.name === params.token),
};

function users(world, test) {
  return [...world.domains.values()].filter(test).map((e) => e.domain.name);
}

function removeFrom(world, list, what, test) {
  const at = world[list].findIndex(test);
  if (at < 0) fail(404, `No such ${what}`, 'it is gone already');
  world[list].splice(at, 1);
  if (what !== 'token') world.event(what, undefined, { what: 'removed' });
  return { status: 204 };
}

function info(world, caller) {
  const used = [...world.domains.values()].reduce((sum, e) => sum + (['running', 'paused'].includes(e.domain.state) ? e.memory : 0), 0);
  const wave = Math.sin(Date.now() / 15000);
  return {
    version: '0.1.0', caller: { name: caller.name, role: caller.role, ...(caller.projects ? { projects: caller.projects } : {}) },
    host: { name: 'tateyama', kernel: '6.18.4', cpus: 8, cpuModel: 'AMD EPYC 9575F', load: [2.41 + wave * 0.3, 2.2, 1.87], memoryTotal: 16 * GiB, memoryAvailable: Math.round(16 * GiB - used - (2.1 + wave * 0.1) * GiB),
      cpuBusyNs: Math.round((Date.now() - world.begun) * 1e6 * 2.9 + 1e12 + 1e9 * wave), uptime: 1_823_000 + (Date.now() - world.begun) / 1000 },
    engines: [
      { name: 'kvm', usable: true, chosen: false, reason: '/dev/kvm is there, but runs guest kernel code through an emulator at about 1 µs an instruction' },
      { name: 'soft', usable: true, chosen: true, reason: 'faster than this host’s KVM for whole systems' },
    ],
    ksm: { running: true, pagesShared: 18_220, pagesSharing: 212_904, savedBytes: 212_904 * 4096 },
    numaNodes: [{ id: 0, cpus: '0-3', memoryTotal: 8 * GiB, memoryFree: Math.round(2.9 * GiB) }, { id: 1, cpus: '4-7', memoryTotal: 8 * GiB, memoryFree: Math.round(0.6 * GiB) }],
    storage: [{ path: '/var/lib/nagaya', size: 480 * GiB, free: 212 * GiB }, { path: '/run', size: 2 * GiB, free: Math.round(1.96 * GiB) }],
    checks: [
      { name: 'KVM', ok: true, detail: '/dev/kvm can be opened' }, { name: 'cgroups', ok: true, detail: 'version 2, all controllers' },
      { name: 'user namespaces', ok: true, detail: 'allowed' }, { name: 'IP forwarding', ok: false, detail: 'net.ipv4.ip_forward is 0: bridge networks have no way out', remedy: 'sysctl -w net.ipv4.ip_forward=1' },
      { name: 'KSM', ok: true, detail: 'runs' }, { name: 'AppArmor', ok: false, detail: 'no profile for containers is loaded' },
    ],
  };
}
