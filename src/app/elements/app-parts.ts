// Parts of the page that only draw: header, numbers, the panels of a run, the about line.

import { html, nothing } from 'lit';
import { userAgent, whySoftware } from '../../base/gpu-advice.ts';
import { PROTOCOL_VERSION } from '../../cluster/presence.ts';
import { version } from '../../../package.json';
import { formatBytes } from '../../base/format-bytes.ts';
import type { PageState } from '../run-controller.ts';
import './line-chart.ts';
import './mesh-map.ts';
import './step-timeline.ts';
import { Series } from '../run-view.ts';
import type { Curve } from './line-chart.ts';

const EMPTY = new Series();

/** `waited` counts up, so it is not read aloud. */
export function header(status: string, waited: string) {
  return html`<header>
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true"><path d="M8 8h16v16H8zM8 8l16 16M24 8L8 24"></path><circle cx="8" cy="8" r="4"></circle><circle cx="24" cy="8" r="4"></circle><circle cx="8" cy="24" r="4"></circle><circle cx="24" cy="24" r="4"></circle></svg>
    <div class="title"><h1>tabmesh</h1><p class="soft">Train neural networks across browser tabs: every tab is a GPU of one mesh.</p></div>
    <p class="status"><span role="status">${status}</span><span aria-hidden="true">${waited}</span></p>
  </header>`;
}

export function stats({ run, phase }: PageState) {
  if (!run) return nothing;
  const { config, loss, evaluation, tokensPerSecond, parameters, vocab, memoryBytes } = run;
  const steps = config.steps;
  const numbers: [string, string][] = [
    ['step', `${run.step} / ${steps}`], ['loss', loss.last?.toFixed(3) ?? 'none yet'], ['held-out loss', evaluation.last?.toFixed(3) ?? 'none yet'],
    ['tokens/s', tokensPerSecond.last === undefined ? 'none yet' : Math.round(tokensPerSecond.last).toLocaleString('en')],
    ['parameters', parameters ? parameters.toLocaleString('en') : 'not known yet'], ['vocabulary', vocab ? vocab.toLocaleString('en') : 'not known yet'], ['memory', memoryBytes ? formatBytes(memoryBytes) : 'not known yet'],
  ];
  return html`<section class="card stats" aria-label="Numbers of the run">
    ${numbers.map(([name, value]) => html`<div><span class="soft small">${name}</span><b>${value}</b></div>`)}
    <progress max=${steps} .value=${run.step} aria-label="Steps done" data-phase=${phase}></progress>
  </section>`;
}

export function runPanels({ run, phase }: PageState) {
  const curves: Curve[] = [{ name: 'training', colour: '--accent', series: run?.loss ?? EMPTY }, { name: 'held out', colour: '--second', series: run?.evaluation ?? EMPTY, sparse: true }];
  const speed: Curve[] = [{ name: 'tokens/s', colour: '--wire', series: run?.tokensPerSecond ?? EMPTY }];
  const version = run ? `${run.step} ${run.evaluation.length} ${phase} ${run.ranks.map(({ text, links }) => text + links.length).join()}` : '';
  const software = run?.ranks.some((rank) => rank.software && rank.own);
  return html`<div class="panels">
    <section class="card wide" aria-label="Loss curve"><line-chart class="loss" heading="Loss" .curves=${curves} .version=${version}></line-chart></section>
    <section class="card" aria-label="Speed curve"><line-chart class="speed" heading="Speed" digits="0" .curves=${speed} .version=${version}></line-chart></section>
    <section class="card wide" aria-label="Mesh">
      <mesh-map .ranks=${run?.ranks ?? []} .version=${version}></mesh-map>
      ${software ? html`<p class="small hint">A software adapter computes on the processor: the results are right, but slow. ${whySoftware(userAgent())}</p>` : nothing}
    </section>
    <section class="card samples" aria-label="Samples">
      <h2>Samples</h2>
      ${run?.samples.length ? html`<ol reversed>${run.samples.toReversed().map(({ step, text }) => html`<li><span class="badge">step ${step}</span><pre>${text.trim()}</pre></li>`)}</ol>`
        : html`<p class="soft small">${sampleHint(run, phase)}</p>`}
      ${run?.notes.length ? html`<ul class="soft small" aria-label="Notes">${run.notes.map(({ step, text }) => html`<li>step ${step}: ${text}</li>`)}</ul>` : nothing}
    </section>
    <section class="card full" aria-label="Timeline of the last step"><step-timeline .ranks=${run?.ranks ?? []} .version=${version}></step-timeline></section>
  </div>`;
}

function sampleHint(run: PageState['run'], phase: PageState['phase']): string {
  if (!run || run.config.sampleEvery === 0) return 'what the model writes as it learns a text: from noise to words';
  if (phase === 'done' || phase === 'failed') return 'the run ended without a sample';
  return `the first sample comes after step ${(Math.floor(run.step / run.config.sampleEvery) + 1) * run.config.sampleEvery}`;
}

export function aboutLine(backend: string) {
  return html`<footer class="small soft">tabmesh ${version}, protocol ${PROTOCOL_VERSION}${backend === 'cpu' ? ', computing on the references (backend=cpu)' : ''}. Texts and weights stay on this machine and the tabs of your room; tabs of a room see each other's network address. <a href="./bench.html">Benchmark the kernels on this device</a></footer>`;
}

export function checkpointName(step: number): string { return `step ${step}`; }
