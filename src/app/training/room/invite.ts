// What somebody who was invited should know before lending a device: who asks, which model, what is downloaded, memory,
// time left, what is shared. Pure.

import { atWork } from '../../../cluster/membership.ts';
import type { Presence } from '../../../cluster/presence.ts';
import { formatBytes } from '../../../base/format-bytes.ts';
import { plainText } from '../../../base/plain-text.ts';
import { formatLayout } from '../../../base/axis.ts';
import { isLanguageRun } from '../../../train/tasks/registry.ts';
import { isPresetName } from '../../../model/presets.ts';
import { isSynthetic } from '../../../train/data/synthetic/registry.ts';
import type { RunConfig } from '../../../train/run-config.ts';
import { duration } from '../charts/curve.ts';
import { contextOf, NO_FACTS } from '../form/fit.ts';
import { configOf, parseJob } from '../job.ts';
import type { SharedFiles } from '../job.ts';
import type { RunView } from '../run-view.ts';
import { listNames } from './names.ts';

export interface Invite {
  /** What is trained or wanted; undefined: nobody has said so yet. */
  readonly config: RunConfig | undefined;
  readonly lines: readonly (readonly [name: string, text: string])[];
}

/** Of a name that another person's page gave. */
const MOST_SHOWN = 200;
const SHARED =
  'your network address, this tab’s name and GPU or processor, and activations and gradients, from which text can be recovered; nothing else on this device';

/** `watched`: the run at work, as far as it is known here. */
export function inviteOf(members: readonly Presence[], watched: RunView | undefined): Invite {
  const working = atWork(members);
  const wishing = members.filter(({ wants }) => wants !== undefined);
  const wish = watched ? undefined : jobIn(wishing[0]?.wants?.plan);
  const config = watched?.config ?? wish?.config;
  const who = working.length
    ? `${listNames(working)} train${working.length === 1 ? 's' : ''}`
    : wishing.length
      ? `${listNames(wishing)} want${wishing.length === 1 ? 's' : ''} to train`
      : members.length
        ? `${listNames(members)} ${members.length === 1 ? 'is' : 'are'} here; nobody has said what to train`
        : 'nobody is here yet';
  return {
    config,
    lines: [
      ['who asks', who],
      ...(config
        ? [
            [
              'model',
              `${plainText(config.model, MOST_SHOWN)} as ${formatLayout(config.layout)}, ${config.steps} steps of ${config.batch} rows`,
            ] as const,
            ['download', downloadOf(config, wish?.shared)] as const,
            ['time left', watched ? (leftOf(watched) ?? 'not known yet') : 'not begun'] as const,
          ]
        : []),
      ['they see', SHARED],
    ],
  };
}

function jobIn(job: unknown): { readonly config: RunConfig; readonly shared: SharedFiles } | undefined {
  try {
    if (job === undefined) return undefined;
    const parsed = parseJob(job);
    return { config: configOf(parsed), shared: parsed.shared ?? {} };
  } catch {
    // Another person's page wrote it; what cannot be read is refused where it is proposed.
    return undefined;
  }
}

/** `shared`: what lies on tabs of the room, with its sizes; undefined where they are not told. */
function downloadOf(config: RunConfig, shared: SharedFiles | undefined): string {
  const { data, model } = config;
  if (!isLanguageRun(config)) return `no text: ${data} data; no weights: it starts from nothing`;
  const sizeOf = (name: keyof SharedFiles): string => {
    const file = shared?.[name];
    return file ? `, ${formatBytes(file.bytes)}` : '';
  };
  const text = isSynthetic(data)
    ? 'no text: a task'
    : data === 'moby-dick'
      ? 'Moby Dick, 1.2 MB from this page’s server'
      : `${plainText(data, MOST_SHOWN)}${sizeOf('text')}, from the tab that has it`;
  if (shared?.checkpoint) return `${text}; its last checkpoint${sizeOf('checkpoint')}, from the tab that has it`;
  return isPresetName(model)
    ? `${text}; no weights: it starts from nothing`
    : `${text}; the weights of ${plainText(model, MOST_SHOWN)}${sizeOf('weights')}`;
}

/**
 * How long the rest will take: from its own steps, or from the pace that a run elsewhere tells; undefined before there
 * is one.
 */
export function leftOf(run: RunView): string | undefined {
  if (run.remainingMs !== undefined) return duration(run.remainingMs);
  const {
    config,
    step,
    tokensPerSecond: { last },
  } = run;
  return last
    ? duration((((config.steps - step) * config.batch * contextOf(config, NO_FACTS)) / last) * 1000)
    : undefined;
}
