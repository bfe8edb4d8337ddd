// The layout of the bench page: one column, tables that scroll inside their card.

import { css } from 'lit';

export const benchStyle = css`
  :host { min-height: 100vh; background: var(--ground); --lib-tabmesh: var(--accent); --lib-tfjs: var(--second); --lib-onnxruntime-web: var(--optimizer); --lib-jax-js: var(--wire); }
  header, main, footer { max-width: 1240px; margin: 0 auto; padding: 0 20px; }
  .n { text-align: right; font-variant-numeric: tabular-nums; }
`;
