// The verbs a domain takes now: the likeliest as a button, the rest in a menu. A viewer sees none.
import type { Domain } from '../api/types';
import { verbLabel, verbsOf, type Verb } from '../lib/actions';
import type { OperationId } from '../generated/contract';
import { can } from '../state/session';
import { choose } from '../state/verbs';
import { Menu, type Item } from './menu';

const asks = (verb: Verb): OperationId => (verb === 'delete' ? 'deleteDomain' : verb === 'update' ? 'updateDomain' : 'actOnDomain');

export function allowedVerbs(domain: Domain): Verb[] {
  return verbsOf(domain).filter((v) => can(asks(v)));
}

type After = { removed?: () => void; renamed?: (name: string) => void };

export function VerbButtons({ domain, after, extra = [], shown = 1 }: { domain: Domain; after?: After; extra?: Item[]; shown?: number }) {
  const verbs = allowedVerbs(domain);
  if (verbs.length === 0) return null;
  const first = verbs.slice(0, shown);
  // In a narrow window the menu is all there is: it has every verb.
  const items: Item[] = [...extra, ...verbs.map((v) => ({ label: verbLabel[v], danger: v === 'delete' || v === 'kill', run: () => choose(v, domain, after) }))];
  return (
    <span class="verbs">
      {first.map((v) => (
        <button key={v} type="button" class="small" aria-label={`${verbLabel[v]} ${domain.name}`} onClick={() => choose(v, domain, after)}>{verbLabel[v]}</button>
      ))}
      <Menu label={`More for ${domain.name}`} items={items}><span aria-hidden="true" class="dots">⋯</span></Menu>
    </span>
  );
}
