// The create form: its fields as a person types them, and the definition they make. Nothing that was left empty is sent.
import type { Definition } from '../api/types';
import { nameMaxLength, namePattern } from '../generated/contract';
import { parseSize } from './units';
import { lines, splitWords } from './words';

export interface Form {
  kind: 'vm' | 'container';
  image: string; name: string; project: string; start: boolean;
  memory: string; cpus: string; cpuWeight: string; cpuset: string; numaNodes: string; pids: string; ioWeight: string;
  readBps: string; writeBps: string;
  command: string; entrypoint: string; env: string; workdir: string; user: string; hostname: string;
  networks: string[]; publish: string; volumes: string;
  restart: string; retries: string; autostart: boolean; labels: string;
  terminal: boolean; system: boolean; readOnly: boolean; privileged: boolean;
  engine: string; diskSize: string; userData: string; append: string; sshKeys: string;
}

export const emptyForm: Form = {
  kind: 'vm', image: '', name: '', project: '', start: true,
  memory: '', cpus: '', cpuWeight: '', cpuset: '', numaNodes: '', pids: '', ioWeight: '', readBps: '', writeBps: '',
  command: '', entrypoint: '', env: '', workdir: '', user: '', hostname: '',
  networks: [], publish: '', volumes: '',
  restart: 'no', retries: '', autostart: false, labels: '',
  terminal: false, system: false, readOnly: false, privileged: false,
  engine: 'auto', diskSize: '', userData: '', append: '', sshKeys: '',
};

/** Messages by field of the form. */
export type FieldErrors = Partial<Record<string, string>>;

export function toDefinition(form: Form): { definition: Definition; errors: FieldErrors } {
  const errors: FieldErrors = {};
  const definition: Definition = { image: form.image.trim(), kind: form.kind };
  const read = new Reader(errors);

  if (!definition.image) errors.image = 'Which image?';
  if (form.name.trim()) definition.name = read.name('name', form.name);
  if (form.project.trim()) definition.project = read.name('project', form.project);

  const limits = readLimits(form, errors);
  if (Object.keys(limits).length > 0) definition.limits = limits;

  const command = read.words('command', form.command);
  if (command.length > 0) definition.command = command;
  if (form.workdir.trim()) definition.workdir = form.workdir.trim();
  if (form.user.trim()) definition.user = form.user.trim();
  if (form.hostname.trim()) definition.hostname = form.hostname.trim();
  const env = read.pairs('env', form.env);
  if (env.length > 0) definition.env = env;
  if (form.networks.length > 0) definition.networks = form.networks;
  const publish = lines(form.publish);
  const bad = publish.find((p) => !/^(?:[^:]+:|\[[^\]]+\]:)?\d+(?:-\d+)?:\d+(?:-\d+)?(?:\/(?:tcp|udp))?$/.test(p));
  if (bad !== undefined) errors.publish = `“${bad}” is not [ADDRESS:]HOST:GUEST[/PROTOCOL]`;
  if (publish.length > 0) definition.publish = publish;
  const volumes = lines(form.volumes);
  const badVolume = volumes.find((v) => !/^[^:]+:\/[^:]*(?::[a-zA-Z,]+)?$/.test(v));
  if (badVolume !== undefined) errors.volumes = `“${badVolume}” is not SOURCE:/FOLDER[:ro]`;
  if (volumes.length > 0) definition.volumes = volumes;

  if (form.restart !== 'no') {
    definition.restart = { policy: form.restart as NonNullable<Definition['restart']>['policy'] };
    const retries = read.integer('retries', form.retries, 0, 1_000_000);
    if (retries !== undefined && form.restart === 'on-failure') definition.restart.retries = retries;
  }
  if (form.autostart) definition.autostart = true;
  const labels = readLabels(form.labels, errors);
  if (Object.keys(labels).length > 0) definition.labels = labels;
  if (form.privileged) definition.privileged = true;

  if (form.kind === 'container') {
    const entrypoint = read.words('entrypoint', form.entrypoint);
    if (entrypoint.length > 0) definition.entrypoint = entrypoint;
    if (form.terminal) definition.terminal = true;
    if (form.system) definition.system = true;
    if (form.readOnly) definition.readOnly = true;
  } else {
    delete definition.privileged;
    if (form.engine !== 'auto') definition.engine = form.engine as Definition['engine'];
    const disk = read.size('diskSize', form.diskSize);
    if (disk !== undefined) definition.diskSize = disk;
    if (form.userData.trim()) definition.userData = form.userData;
    if (form.append.trim()) definition.append = form.append.trim();
    const keys = lines(form.sshKeys);
    if (keys.length > 0) definition.sshKeys = keys;
  }
  return { definition, errors };
}

export type LimitFields = Pick<Form, 'memory' | 'cpus' | 'cpuWeight' | 'cpuset' | 'numaNodes' | 'pids' | 'ioWeight' | 'readBps' | 'writeBps'>;

export function readLimits(form: LimitFields, errors: FieldErrors): NonNullable<Definition['limits']> {
  const read = new Reader(errors);
  const limits: NonNullable<Definition['limits']> = {};
  const set = <K extends keyof typeof limits>(key: K, value: (typeof limits)[K]) => {
    if (value !== undefined && value !== '') limits[key] = value;
  };
  set('memory', read.size('memory', form.memory));
  set('cpus', read.number('cpus', form.cpus, 0, 4096));
  set('cpuWeight', read.integer('cpuWeight', form.cpuWeight, 1, 10_000));
  set('cpuset', read.ranges('cpuset', form.cpuset));
  set('numaNodes', read.ranges('numaNodes', form.numaNodes));
  set('pids', read.integer('pids', form.pids, 0, 4_194_304));
  set('ioWeight', read.integer('ioWeight', form.ioWeight, 1, 10_000));
  set('readBps', read.size('readBps', form.readBps));
  set('writeBps', read.size('writeBps', form.writeBps));
  return limits;
}

export function readLabels(text: string, errors: FieldErrors): Record<string, string> {
  return Object.fromEntries(new Reader(errors).pairs('labels', text).map((pair) => {
    const at = pair.indexOf('=');
    return [pair.slice(0, at), pair.slice(at + 1)];
  }));
}

class Reader {
  constructor(private readonly errors: FieldErrors) {}

  name(field: string, text: string): string {
    const name = text.trim();
    if (!namePattern.test(name)) this.errors[field] = 'Letters, digits, “_”, “.” and “-”; begins with a letter or digit';
    else if (name.length > nameMaxLength) this.errors[field] = `At most ${nameMaxLength} characters`;
    return name;
  }

  size(field: string, text: string): number | undefined {
    if (!text.trim()) return undefined;
    const bytes = parseSize(text);
    if (bytes === undefined) this.errors[field] = 'A size such as 512M or 2G';
    return bytes;
  }

  number(field: string, text: string, least: number, most: number): number | undefined {
    if (!text.trim()) return undefined;
    const value = Number(text);
    if (!(value >= least && value <= most)) this.errors[field] = `A number from ${least} to ${most}`;
    return value;
  }

  integer(field: string, text: string, least: number, most: number): number | undefined {
    const value = this.number(field, text, least, most);
    if (value !== undefined && !Number.isInteger(value)) this.errors[field] = 'A whole number';
    return value;
  }

  ranges(field: string, text: string): string | undefined {
    const value = text.replace(/\s/g, '');
    if (!value) return undefined;
    if (!/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(value)) this.errors[field] = 'Numbers and ranges such as 0-3,8';
    return value;
  }

  words(field: string, text: string): string[] {
    const split = splitWords(text);
    if (split.ok) return split.words;
    this.errors[field] = `This ${split.why}`.replace('This the', 'The');
    return [];
  }

  pairs(field: string, text: string): string[] {
    const pairs = lines(text);
    const bad = pairs.find((p) => !/^[^=\s]+=/.test(p));
    if (bad !== undefined) this.errors[field] = `“${bad}” is not KEY=VALUE`;
    return pairs;
  }
}

/**
 * Which field of a form a problem's `field` means: servers may say "limits.memory", "/limits/memory" or "publish[0]".
 * The last known part wins.
 */
export function fieldOf(field: string | undefined): string | undefined {
  const parts = (field ?? '').split(/[./[\]]+/).filter((p) => p !== '' && !/^\d+$/.test(p) && p !== 'policy');
  return parts.findLast((p) => p in emptyForm) ?? parts.at(-1);
}
