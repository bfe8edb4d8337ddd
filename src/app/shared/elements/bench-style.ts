// The layout of the two pages that measure: one column on a phone; wide tables scroll inside their card.

import { css } from 'lit';

export const benchStyle = css`
  :host {
    min-height: 100vh;
    background: var(--ground);
  }
  header,
  main,
  footer {
    max-width: 1240px;
    margin: 0 auto;
    padding: 0 20px;
  }
  header {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 12px;
    padding-top: 20px;
    padding-bottom: 16px;
  }
  h1 {
    margin: 0;
    font-size: 22px;
    line-height: 1.2;
    letter-spacing: -0.02em;
  }
  .logo {
    width: 40px;
    height: 40px;
    flex: none;
  }
  .logo path {
    fill: none;
    stroke: var(--accent);
    stroke-width: 2;
    opacity: 0.5;
  }
  .logo circle {
    fill: var(--accent);
  }
  .title {
    flex: 1 1 260px;
    min-width: 0;
  }
  .title p {
    font-size: 14px;
  }
  main {
    display: grid;
    gap: 14px;
    grid-template-columns: minmax(0, 1fr);
  }
  .card {
    background: var(--card);
    border: 1px solid var(--edge);
    border-radius: 16px;
    padding: 16px;
    min-width: 0;
  }
  .top,
  .panels {
    display: grid;
    gap: 14px;
    grid-template-columns: minmax(0, 1fr);
  }
  footer {
    padding-top: 18px;
    padding-bottom: 28px;
  }
  .problems {
    display: grid;
    gap: 8px;
  }
  .problem {
    display: flex;
    gap: 12px;
    align-items: flex-start;
    justify-content: space-between;
    background: var(--bad-ground);
    color: var(--bad);
    border-radius: 12px;
    padding: 10px 14px;
    overflow-wrap: anywhere;
  }
  .problem > span {
    min-width: 0;
    padding-top: 3px;
  }
  .problem button {
    background: transparent;
    border-color: currentColor;
    min-height: 30px;
    padding: 2px 10px;
    font-size: 13px;
    flex: none;
  }

  .facts {
    margin: 0;
    display: grid;
    gap: 2px;
  }
  .facts div {
    display: flex;
    gap: 8px;
  }
  .facts dt {
    color: var(--soft);
    flex: 0 0 64px;
  }
  .facts dd {
    margin: 0;
    font-weight: 600;
    overflow-wrap: anywhere;
    min-width: 0;
  }
  .hint {
    color: var(--warn);
    margin-top: 6px;
  }
  .actions {
    margin: 14px 0 10px;
    flex-wrap: nowrap;
  }
  .actions .primary {
    min-width: 92px;
    flex: none;
  }
  .now {
    min-width: 0;
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
  }
  .now.none {
    color: var(--bad);
  }
  progress {
    display: block;
    width: 100%;
    height: 5px;
    border: 0;
    border-radius: 3px;
    overflow: hidden;
    appearance: none;
    background: var(--sunken);
    margin-bottom: 16px;
  }
  progress::-webkit-progress-bar {
    background: var(--sunken);
  }
  progress::-webkit-progress-value {
    background: var(--accent);
  }
  progress::-moz-progress-bar {
    background: var(--accent);
  }

  .scroll {
    overflow-x: auto;
    border-radius: 8px;
  }
  .scroll:focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  table {
    border-collapse: collapse;
    width: 100%;
    font-size: 13px;
    white-space: nowrap;
  }
  th,
  td {
    padding: 5px 8px;
    text-align: left;
    font-weight: 400;
  }
  thead th {
    color: var(--soft);
    font-size: 12px;
    border-bottom: 1px solid var(--edge);
  }
  thead th[title] {
    text-decoration: underline dotted;
    text-underline-offset: 3px;
    cursor: help;
  }
  tbody th.shape {
    padding-top: 12px;
    font: 600 12px/1.4 var(--mono);
    border-bottom: 1px solid var(--edge);
  }
  tr.own > * {
    font-weight: 650;
  }
  tr.why td {
    white-space: normal;
    color: var(--soft);
    min-width: 220px;
  }
  tr.failed td {
    color: var(--bad);
  }
  th.case {
    font: 12px/1.4 var(--mono);
    white-space: normal;
    min-width: 180px;
  }
  tfoot th,
  tfoot td {
    border-top: 1px solid var(--edge);
  }
  .n {
    text-align: right;
    font-variant-numeric: tabular-nums;
  }
  .yes {
    color: var(--good);
  }
  .no {
    color: var(--bad);
    font-weight: 650;
  }
  .slower {
    color: var(--bad);
  }
  .overview td,
  .overview th {
    padding: 6px;
  }
  .least {
    display: block;
    white-space: nowrap;
    font-size: 11px;
    color: var(--soft);
  }

  details {
    border-top: 1px solid var(--edge);
    padding: 8px 0;
  }
  .cases details,
  .tuner details {
    margin: 0;
  }
  .cases > p,
  .tuner > p {
    margin: 4px 0 10px;
  }
  details p {
    margin: 6px 0;
  }
  .tuner-form {
    margin-bottom: 12px;
    align-items: end;
  }
  label.field {
    display: grid;
    gap: 3px;
    font-size: 13px;
    color: var(--soft);
  }
  label.field > * {
    color: var(--ink);
    font-size: 14px;
  }
  .tuner-form select {
    min-width: 190px;
  }
  .tuner-form input {
    width: 100%;
  }

  @media (min-width: 900px) {
    .top {
      grid-template-columns: minmax(0, 1.5fr) minmax(0, 1fr);
    }
    .panels {
      grid-template-columns: minmax(0, 1.1fr) minmax(0, 1fr);
    }
    .top,
    .panels {
      align-items: start;
    }
  }
  /* Narrow: what a run found comes before what can be done with it. */
  @media (max-width: 899px) {
    .top {
      display: contents;
    }
    .keep {
      order: 1;
    }
    .tuner {
      order: 2;
    }
  }
  @media (max-width: 500px) {
    header,
    main,
    footer {
      padding-left: 12px;
      padding-right: 12px;
    }
    .card {
      padding: 14px;
      border-radius: 14px;
    }
    .overview {
      font-size: 12px;
      white-space: normal;
    }
    th,
    td {
      padding: 5px 6px;
    }
  }
`;
