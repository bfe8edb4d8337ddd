// The sentence under the buttons of the training page: what pressing means, or what must come before.

import { html, nothing } from 'lit';
import { formatLayout } from '../../../base/axis.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { layoutFor } from '../form/fit.ts';
import { devicesIn, tabs } from '../form/suggestion.ts';
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
  /** Trains with a layout that fits the tabs that are here. */
  readonly use: (fitting: Fitting) => void;
}

export function hint(page: Hinting) {
  const { busy, invited, needed, problems } = page;
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
      You were invited to train with other tabs. Joining lends them this device's GPU or processor while this tab is
      open; they see your network address, and what is trained. Look first, and this device is not lent before you say
      so.
    </p>`;
  if (room?.joined && room.me?.role !== 'trainer') return invitation(page.state);
  if (problems.length)
    return html`<p class="small hint" role="status">
      Nothing begins before this is mended: ${problems.map(({ text }) => text).join('; ')}.
    </p>`;
  const here = devicesIn(room);
  if (here !== undefined) return here === needed ? '' : otherNumber(page, here);
  return html`<p class="small hint">
    ${needed} virtual device${needed === 1 ? '' : 's'} in this tab: ranks that share this machine's GPU or processor and
    talk as separate machines would.
  </p>`;
}

/** More tabs, or fewer, are here than the layout has ranks: a press trains with those that are here. */
function otherNumber({ config, facts, needed, use }: Hinting, here: number) {
  const fitting = layoutFor(here, config, facts);
  const name = formatLayout(config.layout);
  const lacking = needed - here;
  return html`<p class="small hint" role="status">
    ${lacking > 0 ? `${lacking} more ${lacking === 1 ? 'tab is' : 'tabs are'} needed: ${name} takes ${needed}, and ${tabs(here)} ${here === 1 ? 'is' : 'are'} here. Add tabs or send the link; Train waits for them.` : `${name} takes ${tabs(needed)} of the ${here} that are here; the others are spares.`}
    <button
      class="inline"
      @click=${() => {
        use(fitting);
      }}
    >
      ${here === 1 ? 'Train with this tab alone' : `Train with the ${here} that are here`}
      (${formatLayout(fitting.config.layout)})</button
    >${fitting.said.length ? ` With them, ${fitting.said.join('; ')}.` : nothing}
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
