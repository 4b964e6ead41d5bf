// A button that opens a list of commands (ARIA's menu button pattern): arrows move, Escape closes, the focus returns.
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { ComponentChildren } from 'preact';

export interface Item {
  label: string;
  run: () => void;
  danger?: boolean;
}

export function Menu({ label, items, children }: { label: string; items: Item[]; children: ComponentChildren }) {
  const [place, setPlace] = useState<{ top: number; right: number; button: number } | undefined>(undefined);
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);
  const close = (refocus: boolean) => {
    setPlace(undefined);
    if (refocus) button.current?.focus();
  };
  const open = () => {
    const rect = button.current!.getBoundingClientRect();
    const height = items.length * 32 + 12;
    const below = rect.bottom + height < innerHeight;
    setPlace({ top: below ? rect.bottom + 2 : Math.max(4, rect.top - height - 2), right: document.documentElement.clientWidth - rect.right, button: rect.top });
  };
  // At once, not after the next picture: fast typing must meet the open menu.
  useLayoutEffect(() => {
    if (!place) return;
    list.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus();
    const outside = (e: Event) => {
      if (!list.current?.contains(e.target as Node) && !button.current?.contains(e.target as Node)) close(false);
    };
    // The list stays where the button was; an event of a scroll that had ended before changes nothing.
    const scrolled = () => { if (Math.abs(button.current!.getBoundingClientRect().top - place.button) > 2) close(false); };
    document.addEventListener('pointerdown', outside);
    addEventListener('scroll', scrolled, true);
    addEventListener('resize', scrolled);
    return () => {
      document.removeEventListener('pointerdown', outside);
      removeEventListener('scroll', scrolled, true);
      removeEventListener('resize', scrolled);
    };
  }, [place]);
  const key = (e: KeyboardEvent) => {
    const all = [...list.current!.querySelectorAll<HTMLElement>('[role=menuitem]')];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = e.key === 'ArrowDown' ? at + 1 : e.key === 'ArrowUp' ? at - 1 + all.length : e.key === 'Home' ? 0 : e.key === 'End' ? all.length - 1 : -1;
    if (e.key === 'Escape') close(true);
    else if (e.key === 'Tab') close(false);
    else if (to >= 0) all[to % all.length]!.focus();
    if (e.key !== 'Tab' && e.key !== 'Enter' && e.key !== ' ') e.preventDefault();
    e.stopPropagation();
  };
  return (
    <span class="menu">
      <button ref={button} type="button" class="icon-button" aria-haspopup="menu" aria-expanded={place !== undefined} aria-label={label} title={label}
              onClick={() => (place ? close(true) : open())}
              onKeyDown={(e) => { if (e.key === 'ArrowDown') { e.preventDefault(); e.stopPropagation(); open(); } }}>
        {children}
      </button>
      {place && (
        <div ref={list} class="menu-list" role="menu" aria-label={label} onKeyDown={key} style={{ top: `${place.top}px`, right: `${place.right}px` }}>
          {items.map((item) => (
            <button key={item.label} type="button" role="menuitem" tabIndex={-1} class={item.danger ? 'danger-text' : undefined}
                    onClick={() => { close(true); item.run(); }}>
              {item.label}
            </button>
          ))}
        </div>
      )}
    </span>
  );
}
