// Parts of the page that only draw: header, numbers, the panels of a run, the about line.

import { html, nothing } from 'lit';
import { userAgent, whySoftware } from '../../../base/gpu-advice.ts';
import { PROTOCOL_VERSION } from '../../../cluster/presence.ts';
import { version } from '../../../../package.json';
import { formatBytes } from '../../../base/format-bytes.ts';
import { leftOf } from '../room/invite.ts';
import type { PageState } from '../run-controller.ts';
import './line-chart.ts';
import { formatAccuracy } from '../../../train/describe-end.ts';
import { isSynthetic } from '../../../train/data/synthetic/registry.ts';
import { isLanguageRun, taskOf } from '../../../train/tasks/registry.ts';
import './mesh-map.ts';
import './prompt-box.ts';
import './step-timeline.ts';
import { Series } from '../run-view.ts';
import type { RunView, Sample } from '../run-view.ts';
import { duration, figure } from '../charts/curve.ts';
import type { Curve } from '../charts/curve.ts';

const EMPTY = new Series();

/** `waited` counts up, so it is not read aloud. */
export function header(status: string, waited: string) {
  return html`<header>
    <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M8 8h16v16H8zM8 8l16 16M24 8L8 24"></path>
      <circle cx="8" cy="8" r="4"></circle>
      <circle cx="24" cy="8" r="4"></circle>
      <circle cx="8" cy="24" r="4"></circle>
      <circle cx="24" cy="24" r="4"></circle>
    </svg>
    <div class="title">
      <h1>tabmesh</h1>
      <p class="soft">Train neural networks across browser tabs: every tab is a device of one mesh.</p>
    </div>
    <nav class="small" aria-label="Other pages">
      <a href="./bench.html">Kernels</a> · <a href="./collectives.html">Collectives</a>
    </nav>
    <p class="status"><span role="status">${status}</span><span aria-hidden="true">${waited}</span></p>
  </header>`;
}

/** What one looks at while it trains. */
export function stats({ run, phase, watching }: PageState, nowMs: number) {
  if (!run) return nothing;
  const {
    config: { data, steps },
    loss,
    evaluation,
    accuracy,
    tokensPerSecond,
  } = run;
  const right = accuracy.last === undefined ? 'none yet' : formatAccuracy(accuracy.last);
  const { counts } = taskOf(run.config);
  const left = !watching && (phase === 'done' || phase === 'failed') ? 'none' : (leftOf(run) ?? 'not known yet');
  return html`<section class="card stats" aria-label="Numbers of the run">
    ${numbers([
      ['step', `${run.step} / ${steps}`],
      ['loss', loss.last?.toFixed(3) ?? 'none yet'],
      ['held-out loss', evaluation.last?.toFixed(3) ?? 'none yet'],
      ...(isSynthetic(data) ? [['accuracy', right] as const] : []),
      [
        `${counts}/s`,
        tokensPerSecond.last === undefined ? 'none yet' : Math.round(tokensPerSecond.last).toLocaleString('en'),
      ],
      ['elapsed', watching ? 'not told' : duration(run.elapsedMs(nowMs))],
      ['time left', left],
    ])}
    <progress max=${steps} .value=${run.step} aria-label="Steps done" data-phase=${phase}></progress>
  </section>`;
}

/** What one looks up. */
export function moreStats({ run, watching }: PageState) {
  if (!run) return nothing;
  const { gradNorm, learningRate, tokens, parameters, vocab } = run;
  const unknown = 'not known yet';
  const { counts } = taskOf(run.config);
  return html`<section class="card stats more" aria-label="More numbers of the run">
    ${numbers([
      [`${counts} seen`, watching ? 'not told' : tokens.toLocaleString('en')],
      ['gradient norm', gradNorm.last === undefined ? unknown : figure(gradNorm.last)],
      ['learning rate', learningRate.last === undefined ? unknown : figure(learningRate.last, 5)],
      ['parameters', parameters ? parameters.toLocaleString('en') : unknown],
      ...(isLanguageRun(run.config) ? [['vocabulary', vocab ? vocab.toLocaleString('en') : unknown] as const] : []),
      ['memory', memoryOf(run) ?? unknown],
    ])}
  </section>`;
}

/** Of all ranks together, or of how many; undefined: of none yet. */
function memoryOf({ memory: { bytes, ranks, counted }, ranks: { length } }: RunView): string | undefined {
  if (ranks === 0) return undefined;
  return `${counted ? 'about ' : ''}${formatBytes(bytes)}${ranks < length ? ` on ${ranks} of ${length} ranks` : ''}`;
}

function numbers(list: readonly (readonly [string, string])[]) {
  return list.map(([name, value]) => html`<div><span class="soft small">${name}</span><b>${value}</b></div>`);
}

/** `others`: curves of earlier runs beside this one's. */
export function runPanels(state: PageState, others: readonly Curve[]) {
  const { run, phase } = state;
  const loss: Curve[] = [
    { name: 'training', colour: '--accent', series: run?.loss ?? EMPTY },
    { name: 'held out', colour: '--second', series: run?.evaluation ?? EMPTY, sparse: true },
    ...others,
  ];
  const small: readonly (readonly [string, string, Curve, number])[] = [
    [
      'speed',
      'Speed',
      {
        name: `${run ? taskOf(run.config).counts : 'tokens'}/s`,
        colour: '--wire',
        series: run?.tokensPerSecond ?? EMPTY,
      },
      0,
    ],
    ['norm', 'Gradient norm', { name: 'before clipping', colour: '--optimizer', series: run?.gradNorm ?? EMPTY }, 3],
    ['rate', 'Learning rate', { name: 'rate', colour: '--good', series: run?.learningRate ?? EMPTY }, 5],
  ];
  const version = run
    ? `${run.step} ${run.evaluation.length} ${phase} ${run.ranks.map(({ text, links, expectedBytes }) => text + links.length + expectedBytes).join()}`
    : '';
  const drawn = `${version} ${others.map(({ name }) => name).join()}`;
  const beside = run && !isLanguageRun(run.config) ? notesCard(run.notes) : samplesCard(state);
  const software = run?.ranks.some((rank) => rank.software && rank.own);
  return html`<div class="panels">
    <section class="card loss-card ${beside === nothing ? 'full' : ''}" aria-label="Loss curve">
      <line-chart class="loss" heading="Loss" adjustable .curves=${loss} .version=${drawn}></line-chart>
    </section>
    ${beside}
    <div class="small-charts">
      ${small.map(([name, heading, curve, digits]) => html`<section class="card" aria-label=${`${heading} curve`}><line-chart class=${name} heading=${heading} digits=${digits} .curves=${[curve]} .version=${version}></line-chart></section>`)}
    </div>
    <section class="card full mesh" aria-label="Mesh">
      <mesh-map .ranks=${run?.ranks ?? []} .version=${version}></mesh-map>
      ${software ? html`<p class="small hint">A software adapter computes on the processor: the results are right, but slow. ${whySoftware(userAgent())}</p>` : nothing}
    </section>
    <section class="card full" aria-label="Timeline of the last step">
      <step-timeline .ranks=${run?.ranks ?? []} .version=${version}></step-timeline>
    </section>
  </div>`;
}

/** What the model wrote, and what did not work beside the training. */
function samplesCard(state: PageState) {
  const { run, phase, stays, watching } = state;
  return html`<section class="card samples" aria-label="Samples">
    <h2>Samples</h2>
    <prompt-box .unable=${cannotWrite({ run, phase, stays, watching })}></prompt-box>
    <div class="scroll" tabindex="0" role="group" aria-label="Texts that the model wrote">
      ${
        run?.samples.length
          ? html`<ol reversed>
              ${run.samples.toReversed().map(
                ({ step, text, prompt }) =>
                  html`<li>
                    <span class="badge">step ${step}</span>
                    <pre>${prompt === undefined ? text.trim() : html`<b>${prompt}</b>${text.trimEnd()}`}</pre>
                  </li>`,
              )}
            </ol>`
          : html`<p class="soft small">${sampleHint(state)}</p>`
      }
      ${notesOf(run?.notes ?? [])}
    </div>
  </section>`;
}

/** The place of the samples where there are none: a task without text has notes at most. */
function notesCard(notes: readonly Sample[]) {
  return notes.length
    ? html`<section class="card samples" aria-label="Notes of the run">
        <h2>Notes</h2>
        ${notesOf(notes)}
      </section>`
    : nothing;
}

function notesOf(notes: readonly Sample[]) {
  return notes.length
    ? html`<ul class="soft small" aria-label="Notes">
        ${notes.map(({ step, text }) => html`<li>step ${step}: ${text}</li>`)}
      </ul>`
    : nothing;
}

/** Why the model of the run writes nothing now; empty: it does. */
function cannotWrite({ run, phase, stays, watching }: Pick<PageState, 'run' | 'phase' | 'stays' | 'watching'>): string {
  if (!run || watching)
    return watching ? 'those who train this run can ask it to write' : 'it writes as soon as a run is there';
  if (isSynthetic(run.config.data)) return 'a task has no words to write';
  if (phase === 'training' || phase === 'paused') return '';
  return stays
    ? ''
    : phase === 'starting' || phase === 'stopping'
      ? 'it writes once it trains'
      : 'the devices of this run are gone; resume it to write on';
}

function sampleHint({ run, phase, watching }: PageState): string {
  if (!run || run.config.sampleEvery === 0) return 'what the model writes as it learns a text: from noise to words';
  // Who watches a run is idle.
  if (!watching && !['starting', 'training', 'paused'].includes(phase)) return 'the run ended without a sample';
  const { sampleEvery, steps } = run.config;
  const next = (Math.floor(run.step / sampleEvery) + 1) * sampleEvery;
  return next <= steps
    ? `the first sample comes after step ${next}`
    : `a sample comes every ${sampleEvery} steps, and the run has ${steps}: it writes when somebody asks`;
}

const COMPUTES: Readonly<Record<string, string>> = {
  webgpu: ', computing on WebGPU (backend=webgpu)',
  cpu: ', computing on the references (backend=cpu)',
  wasm: ', computing in WebAssembly (backend=wasm)',
};

export function aboutLine(backend: string) {
  return html`<footer class="small soft">
    tabmesh ${version}, protocol ${PROTOCOL_VERSION}${COMPUTES[backend] ?? ''}. Texts and weights stay on this machine
    and the tabs of your room; tabs of a room see each other's network address.
  </footer>`;
}

export function checkpointName(step: number): string {
  return `step ${step}`;
}
