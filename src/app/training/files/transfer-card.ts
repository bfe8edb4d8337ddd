// The card of the files that are on their way: each with its size, how far it is, how fast, with whom, and a button
// that ends it.

import { html, nothing } from 'lit';
import { amountOf, deedOf, isOver, shownOf } from './transfers.ts';
import type { PageState, RunController } from '../run-controller.ts';

/** `controller` ends a transfer, or takes one that is over off the card. */
export function transferCard(
  { transfers, run, stays }: Pick<PageState, 'transfers' | 'run' | 'stays'>,
  controller: Pick<RunController, 'busy' | 'endTransfer'>,
) {
  const goesOn = controller.busy || stays;
  const shown = shownOf(transfers, run?.ready === true);
  if (shown.length === 0) return nothing;
  return html`<section class="card transfers" aria-label="Files on their way">
    <ul>
      ${shown.map((transfer) => {
        const { name, moved, whole, who, way } = transfer;
        const over = isOver(transfer);
        const runs = !over && goesOn;
        return html`<li>
          <p class="small">
            <span class="soft">${deedOf(transfer, goesOn)}</span> <b>${name}</b> <span class="soft">${who}</span>
            <span class="amount">${amountOf(transfer)}</span>
          </p>
          <div class="row">
            <progress max=${whole ?? 1} .value=${moved} aria-label=${`${deedOf(transfer, goesOn)} ${name}`}></progress>
            <button
              class="small"
              title=${runs && way !== 'save' ? 'Ends the run that needs this file' : nothing}
              aria-label=${`${runs ? 'Cancel' : 'Close'} ${name}`}
              @click=${() => controller.endTransfer(transfer)}
            >
              ${runs ? 'Cancel' : 'Close'}
            </button>
          </div>
        </li>`;
      })}
    </ul>
  </section>`;
}
