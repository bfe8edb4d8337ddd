// Bars, rooflines and their keys; bars stand beside their table from 1000 px on. A library has the same colour
// everywhere.

import { css } from 'lit';

export const chartsStyle = css`
  .dot {
    display: inline-block;
    width: 9px;
    height: 9px;
    border-radius: 3px;
    margin-right: 7px;
    background: var(--soft);
  }
  .dot[data-library='tabmesh'],
  .track i[data-library='tabmesh'] {
    background: var(--accent);
  }
  .dot[data-library='tfjs'],
  .track i[data-library='tfjs'] {
    background: var(--second);
  }
  .dot[data-library='onnxruntime-web'],
  .track i[data-library='onnxruntime-web'] {
    background: var(--optimizer);
  }
  .dot[data-library='jax-js'],
  .track i[data-library='jax-js'] {
    background: var(--wire);
  }

  figure {
    margin: 0;
    min-width: 0;
  }
  .workload {
    display: grid;
    gap: 10px;
  }
  .both {
    display: grid;
    gap: 16px;
    grid-template-columns: minmax(0, 1fr);
    align-items: start;
  }
  .bars {
    display: grid;
    gap: 12px;
  }
  .bars .shape {
    font: 600 12px/1.4 var(--mono);
    margin-bottom: 3px;
  }
  .bar {
    display: grid;
    grid-template-columns: 122px minmax(0, 1fr) 80px;
    gap: 8px;
    align-items: center;
    font-size: 12px;
    line-height: 17px;
  }
  .bar .name {
    color: var(--soft);
    white-space: nowrap;
    overflow: hidden;
    text-overflow: ellipsis;
  }
  .bar .value {
    font-variant-numeric: tabular-nums;
    white-space: nowrap;
  }
  .track {
    height: 11px;
    background: var(--sunken);
    border-radius: 3px;
    overflow: hidden;
  }
  .track i {
    display: block;
    height: 100%;
    min-width: 2px;
    border-radius: 3px;
    background: var(--soft);
  }
  .track i.wrong {
    opacity: 0.35;
  }

  .roofline svg {
    width: 100%;
    height: auto;
    display: block;
  }
  .roofline text {
    font-size: 12px;
    fill: var(--soft);
  }
  .roofline .grid {
    stroke: var(--edge);
    stroke-width: 1;
  }
  .roofline .roof {
    fill: none;
    stroke: var(--ink);
    stroke-width: 2;
  }
  .roofline .point {
    fill: var(--soft);
    fill-opacity: 0.85;
    stroke: var(--card);
    stroke-width: 1;
  }
  .roofline .point[data-library='tabmesh'] {
    fill: var(--accent);
  }
  .roofline .point[data-library='tfjs'] {
    fill: var(--second);
  }
  .roofline .point[data-library='onnxruntime-web'] {
    fill: var(--optimizer);
  }
  .roofline .point[data-library='jax-js'] {
    fill: var(--wire);
  }
  .roofline .point.wrong {
    fill-opacity: 0.1;
    stroke: var(--bad);
  }
  .keys {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 14px;
    color: var(--soft);
    margin-top: 6px;
  }
  .keys span {
    display: inline-flex;
    align-items: center;
  }
  svg.mark {
    width: 14px;
    height: 14px;
    display: inline-block;
    margin-right: 5px;
    fill: none;
    stroke: var(--soft);
    stroke-width: 1.5;
  }

  @media (min-width: 1000px) {
    .both:has(.bars) {
      grid-template-columns: minmax(0, 1fr) minmax(0, 1.75fr);
    }
  }
  @media (max-width: 500px) {
    .bar {
      grid-template-columns: 124px minmax(0, 1fr) 62px;
      gap: 6px;
    }
    .roofline text {
      font-size: 18px;
    }
    .overview .dot {
      display: none;
    }
  }
`;
