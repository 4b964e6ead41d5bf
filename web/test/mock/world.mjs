// A made-up host: domains that use CPU and memory, operations that take a while, events.
import { EventEmitter } from 'node:events';

const MiB = 1024 ** 2;
const GiB = 1024 ** 3;

export class World extends EventEmitter {
  constructor({ seed = 7, fast = false } = {}) {
    super();
    this.setMaxListeners(0);
    this.random = generator(seed);
    this.fast = fast;
    this.begun = Date.now();
    this.domains = new Map();
    this.operations = [];
    this.events = [];
    this.images = [
      image('debian', 'disk', 1.3 * GiB), image('docker.io/library/alpine:3.20', 'oci', 8.2 * MiB),
      image('docker.io/library/nginx:1.27', 'oci', 71 * MiB), image('docker.io/library/postgres:16', 'oci', 159 * MiB), image('fedora-41', 'disk', 2.1 * GiB),
    ];
    this.networks = [
      { name: 'user', kind: 'user', internal: false },
      { name: 'office', kind: 'bridge', subnet: '10.20.0.0/24', internal: false, bridge: 'ngy-office' },
      { name: 'backstage', kind: 'user', subnet: '10.31.0.0/24', internal: true },
    ];
    this.volumes = [
      { name: 'pg-data', path: '/var/lib/nagaya/volumes/pg-data', created: ago(86400 * 40), size: 11.4 * GiB | 0, labels: { backup: 'nightly' } },
      { name: 'site', path: '/var/lib/nagaya/volumes/site', created: ago(86400 * 12), size: 240 * MiB },
      { name: 'scratch', path: '/var/lib/nagaya/volumes/scratch', created: ago(86400 * 2), size: 0 },
    ];
    for (const v of this.volumes) v.size = Math.round(v.size);
    this.volumes[0].size = Math.round(11.4 * GiB);
    this.tokens = [
      { name: 'ada', role: 'admin', created: ago(86400 * 90), secret: 'admin-token' },
      { name: 'otto', role: 'operator', created: ago(86400 * 30), expires: ago(-86400 * 60), secret: 'operator-token' },
      { name: 'vera', role: 'viewer', projects: ['default', 'shop'], created: ago(86400 * 3), secret: 'viewer-token' },
      { name: 'shopkeeper', role: 'operator', projects: ['shop'], created: ago(86400 * 5), secret: 'shop-token' },
      { name: 'old-ci', role: 'operator', created: ago(86400 * 200), expires: ago(86400 * 20), secret: 'expired-token-1' },
    ];
  }

  populate() {
    const add = (name, kind, state, load, memory, more = {}) => {
      const { definition = {}, ...domain } = more;
      this.put({ name, kind, state, project: 'default', image: kind === 'vm' ? 'debian' : 'docker.io/library/alpine:3.20', created: ago(86400 * 9), ...domain }, { load, memory, ...definition });
    };
    add('build-farm', 'vm', 'running', 1.9, 3.1 * GiB, { engine: 'kvm', started: ago(7400), limits: { memory: 4 * GiB, cpus: 2 }, addresses: ['10.20.0.12'], image: 'fedora-41' });
    add('db', 'container', 'running', 0.31, 1.4 * GiB, { project: 'shop', image: 'docker.io/library/postgres:16', started: ago(86400 * 6 + 4000), limits: { memory: 2 * GiB, cpus: 2, cpuWeight: 400 }, addresses: ['10.31.0.3'], labels: { tier: 'data' },
      definition: { volumes: ['pg-data:/var/lib/postgresql/data'], networks: ['backstage'], restart: { policy: 'always' }, autostart: true } });
    add('desk', 'vm', 'paused', 0, 900 * MiB, { engine: 'soft', started: ago(86400), limits: { memory: 2 * GiB, cpus: 1 } });
    add('mail', 'vm', 'stopped', 0, 0, { finished: ago(5000), exitCode: 0, started: ago(90000) });
    add('metrics', 'container', 'running', 0.08, 190 * MiB, { started: ago(86400 * 2), addresses: ['10.31.0.9'], labels: { tier: 'watch' } });
    add('nightly-import', 'container', 'failed', 0, 0, { project: 'shop', reason: 'ended with exit code 3 four times; restart policy gave up', exitCode: 3, restarts: 4, finished: ago(26000), started: ago(26040) });
    add('shop-web-1', 'container', 'running', 0.42, 210 * MiB, { project: 'shop', image: 'docker.io/library/nginx:1.27', started: ago(41000), addresses: ['10.31.0.21'], limits: { memory: 256 * MiB, cpus: 1 },
      ports: [{ address: '0.0.0.0', host: 8080, guest: 80, protocol: 'tcp' }], labels: { tier: 'web' }, definition: { publish: ['8080:80'], volumes: ['site:/usr/share/nginx/html:ro'], networks: ['backstage'] } });
    add('shop-web-2', 'container', 'running', 0.12, 180 * MiB, { project: 'shop', image: 'docker.io/library/nginx:1.27', started: ago(41000), addresses: ['10.31.0.22'], limits: { memory: 256 * MiB, cpus: 1 }, labels: { tier: 'web' } });
    add('try-it', 'vm', 'created', 0, 0, { image: 'fedora-41', created: ago(300) });
    add('vpn', 'vm', 'running', 0.015, 140 * MiB, { engine: 'soft', started: ago(86400 * 20), limits: { memory: 512 * MiB, cpus: 1 }, addresses: ['10.20.0.2'] });
    this.event('started', 'vpn', { engine: 'soft' });
    this.event('failed', 'nightly-import', { exitCode: 3, message: 'restart policy gave up' });
    this.event('oom', 'db', { process: 'postgres' });
    this.event('started', 'build-farm', { engine: 'kvm' });
    return this;
  }

  put(domain, extra) {
    const { load = 0, memory = 0, ...definition } = extra;
    const entry = {
      domain: { restarts: 0, labels: {}, limits: {}, id: hex(this.random, 12), ...domain },
      definition: { image: domain.image, kind: domain.kind, name: domain.name, project: domain.project, limits: domain.limits ?? {}, labels: domain.labels ?? {}, ...definition },
      load, memory, version: 1, log: [], cpuNs: 0, readBytes: 0, writeBytes: 0, rxBytes: 0, txBytes: 0, at: Date.now(), phase: this.random() * 6,
    };
    entry.log = bootLog(entry.domain);
    this.domains.set(domain.name, entry);
    return entry;
  }

  /** Counters up to now; the load waves a little. */
  stats(entry) {
    const now = Date.now();
    const seconds = (now - entry.at) / 1000;
    entry.at = now;
    const wave = entry.domain.state === 'running' ? entry.load * (0.75 + 0.25 * Math.sin(now / 9000 + entry.phase) + 0.2 * (this.random() - 0.5)) : 0;
    entry.cpuNs += Math.max(0, wave * seconds * 1e9);
    const burst = entry.domain.state === 'running' && this.random() < 0.3 ? 1 : 0.05;
    entry.readBytes += entry.load * seconds * 900_000 * burst;
    entry.writeBytes += entry.load * seconds * 2_400_000 * burst;
    entry.rxBytes += entry.load * seconds * 400_000 * (0.5 + this.random());
    entry.txBytes += entry.load * seconds * 1_600_000 * (0.5 + this.random());
    const limit = entry.domain.limits?.memory;
    const memory = Math.round(Math.min(limit || Infinity, entry.memory * (1 + 0.06 * Math.sin(now / 20000 + entry.phase))));
    return {
      time: new Date(now).toISOString(), cpuNs: Math.round(entry.cpuNs), memory, ...(limit ? { memoryLimit: limit } : {}), pids: 3 + Math.round(entry.load * 20),
      readBytes: Math.round(entry.readBytes), writeBytes: Math.round(entry.writeBytes), rxBytes: Math.round(entry.rxBytes), txBytes: Math.round(entry.txBytes),
      oomKills: entry.domain.name === 'db' ? 1 : 0, throttledNs: entry.domain.name === 'build-farm' ? 42e9 : 0,
    };
  }

  processes(entry) {
    const name = entry.domain.name;
    const list = [['root', entry.domain.kind === 'vm' ? '/sbin/init' : '/docker-entrypoint.sh'], ['root', 'worker: main'], ['nobody', 'worker: helper'], ['root', 'sleep 3600']];
    return list.map(([user, command], i) => ({ pid: i === 0 ? 1 : 40 + i * 7, ppid: i === 0 ? 0 : 1, user, command: `${command}${i === 1 ? ` --name ${name}` : ''}`,
      cpuNs: Math.round(entry.cpuNs / (i + 1.5)), memory: Math.round(entry.memory / (i + 2)) }));
  }

  event(kind, domain, detail = {}) {
    const project = domain ? this.domains.get(domain)?.domain.project : undefined;
    const event = { id: this.events.length + 1, time: new Date().toISOString(), kind, ...(domain ? { domain } : {}), ...(project ? { project } : {}), detail };
    this.events.push(event);
    this.emit('event', event);
  }

  /** Begins something that takes `ms`; `end` runs when it is over and may throw a problem. */
  operate(kind, target, ms, end, { cancellable = false, messages = [] } = {}) {
    const operation = { id: `op-${this.operations.length + 1}-${hex(this.random, 4)}`, kind, ...(target ? { target } : {}), state: 'running', started: new Date().toISOString(), cancellable, ...(cancellable ? { progress: 0 } : {}) };
    this.operations.unshift(operation);
    const length = this.fast ? Math.min(ms, 600) : ms;
    const begun = Date.now();
    const finish = (state, more = {}) => {
      clearInterval(operation.timer);
      Object.assign(operation, { state, finished: new Date().toISOString(), cancellable: false }, more);
      this.event('operation', operation.target && this.domains.has(operation.target) ? operation.target : undefined, { operation: operation.id, what: kind, state });
      this.emit('ended', operation);
    };
    const timer = setInterval(() => {
      const part = Math.min(1, (Date.now() - begun) / length);
      if (cancellable) operation.progress = part;
      if (messages.length > 0) operation.message = messages[Math.min(messages.length - 1, Math.floor(part * messages.length))];
      if (part < 1) return;
      try {
        end?.();
        finish('done', messages.length > 0 ? { message: undefined } : {});
      } catch (problem) {
        if (!problem.title) throw problem;
        finish('failed', { error: problem });
      }
    }, 60);
    Object.defineProperty(operation, 'timer', { value: timer, enumerable: false });
    Object.defineProperty(operation, 'cancel', { value: () => finish('cancelled'), enumerable: false });
    return operation;
  }

  close() {
    for (const o of this.operations) clearInterval(o.timer);
  }
}

function image(name, kind, size) {
  let id = 'sha256:';
  for (let i = 0; id.length < 71; ++i) id += ((name.charCodeAt((i * 5 + name.length) % name.length) * (i + 7) + name.length * 31) % 251).toString(16).padStart(2, '0');
  return { id: id.slice(0, 71), name, kind, size: Math.round(size), created: ago(86400 * 20) };
}

export function ago(seconds) {
  return new Date(Math.round((Date.now() - seconds * 1000) / 1000) * 1000).toISOString().replace('.000Z', 'Z');
}

export function hex(random, length) {
  let text = '';
  while (text.length < length) text += Math.floor(random() * 16).toString(16);
  return text;
}

/** A small generator of numbers (mulberry32), so that each run sees the same world. */
function generator(seed) {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function bootLog(domain) {
  if (domain.state === 'created') return [];
  const first = domain.kind === 'vm'
    ? ['[    0.000000] Linux version 6.1.0-44-cloud-amd64', '[    0.412033] virtio_blk virtio1: [vda] 20971520 512-byte logical blocks', '[  \x1b[32mOK\x1b[0m  ] Reached target \x1b[1mMulti-User System\x1b[0m.', '', `Debian GNU/Linux 12 ${domain.name} ttyS0`, '', `${domain.name} login: `]
    : ['/docker-entrypoint.sh: Configuration complete; ready for start up', 'listening on 0.0.0.0:80'];
  return first.map((text, i) => ({ time: ago(400 - i), text }));
}
