// The layout of the page: one column on a phone, two from 900 px on.

import { css } from 'lit';

export const appStyle = css`
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
  .status {
    padding: 6px 14px;
    border-radius: 99px;
    border: 1px solid var(--edge);
    background: var(--card);
    font-size: 14px;
    max-width: 100%;
    overflow-wrap: anywhere;
    font-variant-numeric: tabular-nums;
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
  .panels,
  .side {
    display: grid;
    gap: 14px;
    grid-template-columns: minmax(0, 1fr);
  }
  .actions {
    margin-bottom: 10px;
  }
  .hint {
    color: var(--soft);
    margin-bottom: 10px;
  }
  section > .hint:last-child {
    margin: 10px 0 0;
  }
  .drop {
    margin-top: 12px;
  }
  .inline {
    min-height: 0;
    padding: 1px 10px;
    font-size: 13px;
  }
  label.button {
    position: relative;
    display: inline-flex;
    align-items: center;
    overflow: hidden;
  }
  label.button input {
    position: absolute;
    inset: 0;
    opacity: 0;
    cursor: pointer;
  }
  .transfers ul {
    display: grid;
    gap: 12px;
    margin: 0;
    padding: 0;
    list-style: none;
  }
  .transfers p {
    overflow-wrap: anywhere;
  }
  .transfers .amount {
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  .transfers .row {
    flex-wrap: nowrap;
    align-items: center;
    margin-top: 4px;
  }
  .transfers progress {
    position: static;
    flex: 1;
    min-width: 0;
    height: 6px;
    border-radius: 3px;
    overflow: hidden;
  }
  .transfers button {
    min-height: 32px;
    padding: 2px 12px;
    font-size: 14px;
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
  .problems pre {
    max-height: 300px;
    overflow: auto;
    font-size: 12px;
  }
  .problem > span {
    min-width: 0;
    padding-top: 3px;
  }
  .problem button {
    flex: none;
    background: transparent;
    border-color: currentColor;
    min-height: 30px;
    padding: 2px 10px;
    font-size: 13px;
  }
  .stats {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(110px, 1fr));
    gap: 8px 16px;
    position: relative;
    overflow: hidden;
    padding-bottom: 20px;
  }
  .stats div {
    display: grid;
  }
  .stats b {
    font-size: 17px;
    font-weight: 650;
    font-variant-numeric: tabular-nums;
    letter-spacing: -0.01em;
  }
  progress {
    position: absolute;
    left: 0;
    bottom: 0;
    width: 100%;
    height: 4px;
    border: 0;
    appearance: none;
    background: var(--sunken);
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
  .stats.more {
    padding-bottom: 16px;
  }
  .stats.more b {
    font-size: 15px;
  }
  .loss {
    --chart-height: 320px;
  }
  .small-charts {
    display: grid;
    gap: 14px;
    grid-template-columns: repeat(auto-fit, minmax(min(260px, 100%), 1fr));
    --chart-height: 150px;
  }
  .samples {
    display: flex;
    flex-direction: column;
  }
  .samples .scroll {
    overflow: auto;
    margin-top: 10px;
    flex: 1 1 auto;
    max-height: 320px;
  }
  .samples ol {
    list-style: none;
    margin: 0;
    padding: 0;
    display: grid;
    gap: 10px;
  }
  pre {
    margin: 4px 0 0;
    font: 13px/1.45 var(--mono);
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  .samples li:not(:first-child) pre {
    color: var(--soft);
  }
  footer {
    padding-top: 18px;
    padding-bottom: 28px;
  }
  .dropzone {
    position: fixed;
    inset: 12px;
    border: 3px dashed var(--accent);
    border-radius: 20px;
    background: color-mix(in srgb, var(--ground) 80%, transparent);
    display: grid;
    place-items: center;
    font-size: 22px;
    font-weight: 650;
    z-index: 10;
    pointer-events: none;
  }
  @media (min-width: 900px) {
    .top,
    .panels {
      grid-template-columns: minmax(0, 1.7fr) minmax(0, 1fr);
    }
    .top {
      align-items: start;
    }
    .full,
    .small-charts {
      grid-column: 1 / -1;
    }
    /* As tall as the curve beside it, whatever stands in it. */
    .samples .scroll {
      height: 0;
      max-height: none;
    }
  }
  @media (max-width: 899px) {
    /* What one looks at while it trains comes first. */
    main.with-run .top,
    main.with-run .panels,
    main.with-run .side {
      display: contents;
    }
    main.with-run > *,
    main.with-run .card,
    main.with-run .small-charts {
      order: 5;
    }
    main.with-run .training {
      order: 1;
    }
    main.with-run .stats {
      order: 2;
    }
    main.with-run .loss-card {
      order: 3;
    }
    main.with-run .samples {
      order: 4;
    }
    main.with-run > .transfers,
    main.with-run > .problems,
    main.with-run > connection-doctor {
      order: 0;
    }
    main.with-run .stats.more {
      order: 5;
    }
    main.with-run .share {
      order: 6;
    }
  }
  @media (max-width: 500px) {
    .title p {
      display: none;
    }
    header {
      padding-top: 12px;
      padding-bottom: 10px;
      gap: 8px 12px;
    }
    .logo {
      width: 30px;
      height: 30px;
    }
    .stats {
      grid-template-columns: repeat(3, minmax(0, 1fr));
    }
    .loss {
      --chart-height: 220px;
    }
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
    .actions .primary {
      flex: 1 1 100%;
    }
  }
`;
