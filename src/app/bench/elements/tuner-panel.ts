// The tuner: which shapes, how long, and for every shape class the choice with its reasons, candidates and refusals.

import { html, nothing } from 'lit';
import { explain, formatPicked, measuredOf, samePick } from '../../../device/tune/certificate.ts';
import type { Candidate, Decision } from '../../../device/tune/certificate.ts';
import { mainButton } from '../../shared/elements/main-button.ts';
import type { BenchController, BenchState } from '../controller.ts';
import { digits, percent } from '../numbers.ts';

export function tunerPanel(
  { settings, catalogue, decisions, notes, phase, tool }: BenchState,
  controller: BenchController,
) {
  const busy = phase === 'running' || phase === 'stopping';
  return html` <h2>Tuner</h2>
    <p class="soft small">
      Measures the variants of our kernels that fit a shape, checks each against the reference first, and says why it
      takes one. What it finds is remembered for this adapter and browser, and training on this site uses it.
    </p>
    <div class="row tuner-form">
      <label class="field"
        >Shapes of<select
          name="plan"
          ?disabled=${busy}
          @change=${(event: Event) => controller.choose({ plan: (event.target as HTMLSelectElement).value })}
        >
          ${['workloads', ...(catalogue?.presets ?? [])].map((name) => html`<option value=${name} ?selected=${name === settings.plan}>${name === 'workloads' ? 'the workloads above' : `a training step of ${name}`}</option>`)}
        </select></label
      >
      <label class="field"
        >Seconds to measure<input
          type="number"
          name="budget"
          min="1"
          max="600"
          step="1"
          inputmode="numeric"
          ?disabled=${busy}
          .value=${String(settings.budget)}
          @change=${(event: Event) => {
            const field = event.target as HTMLInputElement;
            if (field.value !== '' && field.checkValidity()) controller.choose({ budget: field.valueAsNumber });
            else field.value = String(settings.budget);
          }}
      /></label>
      ${
        busy && tool === 'tuner'
          ? mainButton('Stop tuning', () => controller.stop(), { idle: phase === 'stopping', primary: false })
          : mainButton('Tune', () => controller.tune(), { idle: phase !== 'ready', primary: false })
      }
    </div>
    ${
      notes.length
        ? html`<ul class="small soft">
            ${notes.map((note) => html`<li>${note}</li>`)}
          </ul>`
        : nothing
    }
    ${decisions.map(decisionOf)}`;
}

function decisionOf(decision: Decision) {
  const { kernel, params, candidates, refused, remembered, complete } = decision;
  const chosen = measuredOf(decision, decision);
  const kept = samePick(decision, decision.default);
  const best = Math.min(...candidates.map(({ relative }) => relative));
  return html`<details class="decision" data-kernel=${kernel}>
    <summary>
      <b>${kernel}</b> <span class="small">${formatShape(params)}</span><br />
      <span class="small">${named(decision)}${chosen ? html`, ${digits(chosen.medianMs)} ms` : ''}</span>
      <span class="badge"
        >${kept ? 'the default' : chosen ? `${digits(1 / chosen.relative)}x the default's speed` : 'tuned'}</span
      >
      ${remembered ? html`<span class="badge">remembered</span>` : nothing}${complete ? nothing : html`<span class="badge warn" title="Tune again, and it goes on">not all tried yet</span>`}
    </summary>
    <p class="small">${explain(decision)}</p>
    <div class="scroll" role="region" tabindex="0" aria-label=${`Candidates of ${kernel}`}>
      <table>
        <thead>
          <tr>
            <th scope="col">variant</th>
            <th scope="col" class="n">ms</th>
            <th scope="col" class="n">to the best</th>
            <th scope="col" class="n">spread</th>
            <th scope="col">clock</th>
            <th scope="col"></th>
          </tr>
        </thead>
        <tbody>
          ${candidates.toSorted((a, b) => a.relative - b.relative).map((candidate) => candidateRow(candidate, decision, best))}
          ${refused.map(
            (one) =>
              html`<tr>
                <th scope="row" class="case">${named(one)}</th>
                <td colspan="5" class="no">refused: ${one.reason}</td>
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </details>`;
}

function candidateRow(candidate: Candidate, decision: Decision, best: number) {
  const remarks = [
    samePick(candidate, decision) ? 'chosen' : '',
    samePick(candidate, decision.default) ? 'the default' : '',
    candidate.abandoned ? 'far slower, measured once' : '',
  ].filter(Boolean);
  return html`<tr class=${samePick(candidate, decision) ? 'own' : ''}>
    <th scope="row" class="case">${named(candidate)}</th>
    <td class="n">${digits(candidate.medianMs)}</td>
    <td class="n">${digits(candidate.relative / best)}x</td>
    <td class="n">${candidate.samples > 1 ? percent(candidate.spread) : ''}</td>
    <td>${candidate.clock === 'gpu' ? 'GPU' : 'wall'}</td>
    <td>${remarks.join(', ')}</td>
  </tr>`;
}

/** A variant whose name says its constants needs no list of them. */
function named(picked: { readonly variant: string; readonly constants: Readonly<Record<string, number>> }): string {
  return /\d-|\dx/.test(picked.variant) ? picked.variant : formatPicked(picked);
}

/** Without what is off or neutral, and without strides and offsets, which follow from the rest. */
function formatShape(params: Readonly<Record<string, number>>): string {
  return Object.entries(params)
    .filter(
      ([name, value]) =>
        value !== 0 &&
        !(value === 1 && /^(BATCH|SCALE|ALPHA|BETA)$/.test(name)) &&
        !/_(B|H|T|OFF|BATCH|START)$/.test(name),
    )
    .map(([name, value]) => `${name}=${Number(value.toPrecision(4))}`)
    .join(' ');
}
