// What images, networks and volumes have in common: a list that loads, a form above it, deletion that names the thing.
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { asApiError } from '../api/problem';
import { domainLink } from '../lib/route';
import { domainsPoller } from '../state/domains';
import { tell, tellError } from '../state/notices';
import type { Loaded } from '../ui/hooks';
import { Confirm } from '../ui/dialog';
import { Empty, Failed, Loading } from '../ui/states';

export interface Column<T> {
  head: string;
  cell: (item: T) => ComponentChildren;
  class?: string;
}

interface Props<T> {
  what: string;
  many: string;
  loaded: Loaded<T[]>;
  nameOf: (item: T) => string;
  columns: Column<T>[];
  tools?: ((item: T) => ComponentChildren) | undefined;
  /** Why one cannot be deleted now; undefined when it can. */
  keeps?: (item: T) => string | undefined;
  remove?: ((item: T) => Promise<unknown>) | undefined;
  removeWords: (item: T) => ComponentChildren;
  empty: ComponentChildren;
}

export function ObjectTable<T>(props: Props<T>) {
  const { loaded, what, many } = props;
  const [asked, setAsked] = useState<T | undefined>(undefined);
  if (!loaded.data) return loaded.error ? <Failed what={`The ${many} could not be listed`} error={loaded.error} retry={() => void loaded.reload()} /> : <Loading what={many} />;
  if (loaded.data.length === 0) return <Empty title={`No ${many} yet`}>{props.empty}</Empty>;
  const confirm = async (item: T) => {
    setAsked(undefined);
    try {
      await props.remove!(item);
      tell(`${props.nameOf(item)} deleted`);
      void domainsPoller.now();
    } catch (error) {
      tellError(`Could not delete ${what} ${props.nameOf(item)}`, asApiError(error));
    }
    void loaded.reload();
  };
  return (
    <div class="table-frame">
      <table class="objects">
        <caption class="hidden">{many}</caption>
        <thead>
          <tr>{props.columns.map((c) => <th key={c.head} scope="col" class={c.class}>{c.head}</th>)}{(props.tools || props.remove) && <th scope="col"><span class="hidden">Verbs</span></th>}</tr>
        </thead>
        <tbody>
          {loaded.data.map((item) => (
            <tr key={props.nameOf(item)}>
              {props.columns.map((c, i) => (i === 0 ? <th key={c.head} scope="row" class={c.class}>{c.cell(item)}</th> : <td key={c.head} class={c.class}>{c.cell(item)}</td>))}
              {(props.tools || props.remove) && (
                <td class="col-verbs">
                  <span class="verbs">
                    {props.tools?.(item)}
                    {props.remove && <button type="button" class="small danger-text" aria-label={`Delete ${props.nameOf(item)}`} disabled={props.keeps?.(item) !== undefined} title={props.keeps?.(item)} onClick={() => setAsked(item)}>Delete</button>}
                  </span>
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {asked && (
        <Confirm title={`Delete ${what} ${props.nameOf(asked)}?`} verb={`Delete ${props.nameOf(asked)}`} onClose={() => setAsked(undefined)} onConfirm={() => void confirm(asked)}>
          {props.removeWords(asked)}
        </Confirm>
      )}
    </div>
  );
}

export function UsedBy({ names }: { names: string[] | undefined }) {
  if (!names?.length) return <span class="quiet">nobody</span>;
  return <>{names.map((n, i) => <span key={n}>{i > 0 && ', '}<a href={domainLink(n)}>{n}</a></span>)}</>;
}

export function usedWords(item: { usedBy?: string[] | undefined }): string | undefined {
  return item.usedBy?.length ? `In use by ${item.usedBy.join(', ')}` : undefined;
}
