// The frame of every page: a heading that takes the focus on arrival, and what can be done here.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useTitle } from './hooks';

/** Not on the first page of a visit: there the browser's own start of the page is right. */
let visited = false;

export function Page({ title, children, tools, label }: { title: string; label?: ComponentChildren; children: ComponentChildren; tools?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useTitle(title);
  useEffect(() => {
    // Browsers heed the attribute once a visit only.
    const first = document.querySelector<HTMLElement>('main [autofocus]');
    if (first) first.focus();
    else if (visited) heading.current?.focus({ preventScroll: true });
    visited = true;
    scrollTo(0, 0);
  }, []);
  return (
    <>
      <div class="page-head">
        <h1 ref={heading} tabIndex={-1}>{label ?? title}</h1>
        {tools && <div class="page-tools">{tools}</div>}
      </div>
      {children}
    </>
  );
}
