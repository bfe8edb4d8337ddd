// The sentence under the buttons of the training page: what pressing means, or what must come before.

import { html, nothing } from 'lit';
import { formatLayout } from '../../../base/axis.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { layoutFor } from '../form/fit.ts';
import type { Fault, FormFacts } from '../form/fit.ts';
import '../room/invite-panel.ts';
import { listNames } from '../room/names.ts';
import type { PageState } from '../run-controller.ts';

type Fitting = NonNullable<ReturnType<typeof layoutFor>>;

export interface Hinting {
  readonly state: PageState;
  readonly busy: boolean;
  /** The link leads into a room that this tab is not in. */
  readonly invited: boolean;
  /** What the form holds, and what is wrong with it. */
  readonly config: RunConfig;
  readonly facts: FormFacts;
  readonly problems: readonly Fault[];
  /** Ranks of its layout. */
  readonly needed: number;
  /** Takes a layout that fits the tabs that are here. */
  readonly use: (fitting: Fitting) => void;
}

export function hint(page: Hinting) {
  const { busy, config, facts, invited, needed, problems } = page;
  const { room, watching } = page.state;
  if (watching) {
    const names = listNames(watching);
    return html`<p class="small hint">
        ${room?.me?.role === 'trainer' ? `${names} train this run; this tab is a spare and takes part when the next group is formed.` : `${names} train this run; you are watching. Help, and this tab lends its device when the next group is formed; or just wait.`}
      </p>
      ${room && room.me?.role !== 'trainer' ? invitation(page.state) : nothing}`;
  }
  if (busy) return '';
  if (invited)
    return html`<p class="small hint">
      You were invited to train with other tabs. Joining lends them this device's GPU while this tab is open; they see
      your network address, and what is trained. Look first, and this device is not lent before you say so.
    </p>`;
  if (room?.joined && room.me?.role !== 'trainer') return invitation(page.state);
  if (problems.length)
    return html`<p class="small hint" role="status">
      Nothing begins before this is mended: ${problems.map(({ text }) => text).join('; ')}.
    </p>`;
  if (room?.joined) {
    const here = room.members.filter(({ role }) => role === 'trainer').length;
    if (here === needed) return '';
    const fitting = here > 1 ? layoutFor(here, config, facts) : undefined;
    return html`<p class="small hint">
      This layout (${formatLayout(config.layout)}) needs ${needed} tabs, ${here} ${here === 1 ? 'is' : 'are'} here.
      ${
        fitting
          ? html`<button
              class="inline"
              @click=${() => {
                page.use(fitting);
              }}
            >
              Use ${formatLayout(fitting.config.layout)}
            </button>`
          : 'Add tabs, or send the link.'
      }
    </p>`;
  }
  return html`<p class="small hint">
    ${needed} virtual device${needed === 1 ? '' : 's'} in this tab: workers that share this machine's GPU and talk as
    separate machines would.
  </p>`;
}

/** For who has come to look. */
function invitation({ room, run, watching }: PageState) {
  return html`<invite-panel
    .members=${room!.members.filter(({ address }) => address !== room!.me?.address)}
    .watched=${watching ? run : undefined}
    .version=${run?.step}
  ></invite-panel>`;
}
