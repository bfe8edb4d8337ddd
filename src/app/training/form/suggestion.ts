// The layout that the form suggests in a room while nobody has chosen one: what fits the tabs that are here. Whoever
// chose a layout keeps it, and is told how many tabs it lacks.

import { formatLayout, worldSize } from '../../../base/axis.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import type { RoomState } from '../room/page-state.ts';
import { PRESETS, presetConfig } from '../presets.ts';
import { draftOf, problemsOf } from './draft.ts';
import type { Draft } from './draft.ts';
import { layoutFor } from './fit.ts';
import type { FormFacts } from './fit.ts';

/** Devices that a run of the room could have, this tab's among them; undefined outside of a room. */
export function devicesIn(room: RoomState | undefined): number | undefined {
  if (!room?.joined) return undefined;
  const lent = room.members.filter(({ role }) => role === 'trainer').length;
  return lent + (room.me?.role === 'trainer' ? 0 : 1);
}

/** '1 tab', '2 tabs'. */
export function tabs(count: number): string {
  return `${count} tab${count === 1 ? '' : 's'}`;
}

export class Suggestion {
  /** What the form would hold without a room: what somebody has written, without what was suggested. */
  #base: RunConfig;
  #chosen: boolean;
  #devices: number | undefined;

  /** `chosen`: somebody has chosen the layout of `base`. */
  constructor(base: RunConfig, { chosen = false } = {}) {
    this.#base = base;
    this.#chosen = chosen;
  }

  /** A person has changed the form. A click on an example chooses its layout, whether it was suggested or not. */
  edited(before: Draft, { config }: Draft): void {
    this.#chosen ||=
      formatLayout(config.layout) !== formatLayout(before.config.layout) ||
      (config !== before.config &&
        PRESETS.some((preset) => JSON.stringify(presetConfig(preset)) === JSON.stringify(config)));
    this.#base = this.#chosen ? config : { ...this.#base, ...changedFields(before.config, config) };
  }

  /** What the form should hold now that so many devices are here: `draft`, unless another layout is suggested. */
  next(draft: Draft, devices: number | undefined, facts: FormFacts): Draft {
    if (this.#chosen || devices === this.#devices) return draft;
    // What somebody has written and is not understood stays in its field.
    if (draft.refused.size > 0 || problemsOf(draftOf(this.#base), facts).length > 0) return draft;
    this.#devices = devices;
    if (devices === undefined || devices === worldSize(this.#base.layout)) return draftOf(this.#base);
    const { config, said } = layoutFor(devices, this.#base, facts);
    return draftOf(config, [
      `${formatLayout(config.layout)} is suggested for the ${tabs(devices)} that ${devices === 1 ? 'is' : 'are'} here`,
      ...said,
    ]);
  }
}

/** The fields of `after` that are not as in `before`. */
function changedFields(before: RunConfig, after: RunConfig): Partial<RunConfig> {
  return Object.fromEntries(
    Object.entries(after).filter(
      ([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name as keyof RunConfig]),
    ),
  );
}
