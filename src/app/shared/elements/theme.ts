// Colours and the few shapes that all elements share. Plain values in light and dark (no light-dark()), because
// canvases read them.

import { css } from 'lit';

export const palette = css`
  :host {
    --ground: #f6f7f9;
    --card: #ffffff;
    --sunken: #f1f3f6;
    --ink: #161c26;
    --soft: #586274;
    --edge: #e1e5eb;
    --accent: #2563eb;
    --on-accent: #ffffff;
    --second: #d9601a;
    --good: #14804f;
    --warn: #8a5200;
    --warn-ground: #fff5e1;
    --bad: #b3261e;
    --bad-ground: #fdecea;
    --compute: #2563eb;
    --wait: #ccd3dd;
    --wire: #0d9488;
    --optimizer: #9333ea;
    --mono: ui-monospace, 'SF Mono', 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  }
  @media (prefers-color-scheme: dark) {
    :host {
      --ground: #101318;
      --card: #181d25;
      --sunken: #12161d;
      --ink: #e8ecf2;
      --soft: #98a3b3;
      --edge: #2a323e;
      --accent: #7aa5ff;
      --on-accent: #0b1220;
      --second: #ff9d5c;
      --good: #4ccb92;
      --warn: #ffc46b;
      --warn-ground: #33280f;
      --bad: #ff8a80;
      --bad-ground: #3a1a18;
      --compute: #6c9cff;
      --wait: #3a4453;
      --wire: #2dd4bf;
      --optimizer: #c084fc;
    }
  }
`;

export const shapes = css`
  :host {
    display: block;
    color: var(--ink);
    font:
      15px/1.5 system-ui,
      -apple-system,
      'Segoe UI',
      Roboto,
      'Helvetica Neue',
      sans-serif;
  }
  * {
    box-sizing: border-box;
  }
  h2 {
    margin: 0;
    font-size: 15px;
    font-weight: 650;
    letter-spacing: -0.01em;
  }
  p {
    margin: 0;
  }
  .soft {
    color: var(--soft);
  }
  .small {
    font-size: 13px;
  }
  .row {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
    align-items: center;
  }
  .spread {
    justify-content: space-between;
  }
  .badge {
    display: inline-block;
    padding: 1px 8px;
    border-radius: 99px;
    background: var(--sunken);
    border: 1px solid var(--edge);
    font-size: 12px;
    color: var(--soft);
    white-space: nowrap;
  }
  .badge.warn {
    background: var(--warn-ground);
    color: var(--warn);
    border-color: transparent;
  }
  button,
  .button,
  select,
  input {
    font: inherit;
    color: inherit;
    border-radius: 9px;
    border: 1px solid var(--edge);
    background: var(--card);
    min-height: 38px;
  }
  button,
  .button {
    padding: 6px 14px;
    cursor: pointer;
    font-weight: 550;
    transition:
      background 0.12s,
      border-color 0.12s;
  }
  button:hover:not(:disabled, [aria-disabled='true']),
  .button:hover {
    border-color: var(--accent);
  }
  button.primary {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
    font-weight: 650;
    padding: 8px 20px;
  }
  button.primary:hover:not(:disabled, [aria-disabled='true']) {
    filter: brightness(1.08);
  }
  button:disabled,
  button[aria-disabled='true'] {
    opacity: 0.5;
    cursor: default;
  }
  button:focus-visible,
  .button:focus-within,
  select:focus-visible,
  input:focus-visible,
  summary:focus-visible,
  a:focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  select,
  input {
    padding: 6px 10px;
    width: 100%;
    min-width: 0;
  }
  input[type='checkbox'] {
    width: 16px;
    height: 16px;
    min-height: 0;
    margin: 0;
    flex: none;
    accent-color: var(--accent);
    vertical-align: -2px;
  }
  a {
    color: var(--accent);
  }
  summary {
    cursor: pointer;
    border-radius: 6px;
  }
`;
