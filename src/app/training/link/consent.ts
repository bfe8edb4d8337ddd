// What a link would have this tab do without a click, in words, for the person to allow or not. Pure; no DOM. What the
// link says itself stands in quotes, so that it cannot pass for words of the page.

import { formatLayout, worldSize } from '../../../base/axis.ts';
import { quote, quoteAddress } from '../../../base/json.ts';
import type { PageSettings } from '../fragment.ts';
import { configOf } from '../job.ts';
import type { Job } from '../job.ts';

const DEVICES: Readonly<Record<PageSettings['backend'], string>> = {
  auto: "this device's GPU or processor",
  webgpu: "this device's GPU",
  wasm: "this machine's processor",
  cpu: "this machine's processor",
};

/** One sentence for each thing; none where the link only says what the page should show. */
export function wishesOfLink(settings: PageSettings): readonly string[] {
  const { room, auto, upload, job, backend, devices } = settings;
  const device = DEVICES[backend];
  const wishes: string[] = [];
  if (auto && room) {
    const own = room.broker === 'none' ? 'tabs of this browser' : "this page's server";
    const over = room.broker && room.broker !== 'none' ? `the broker ${quoteAddress(room.broker)}` : own;
    wishes.push(`join the room ${quote(room.room)} over ${over}: its members see your network address`);
    wishes.push(`lend ${device} to what the room trains`);
    if (job) wishes.push(`propose to the room to ${jobText(job)}`);
  } else if (auto) {
    wishes.push(
      job
        ? `${jobText(job)}, with ${device}`
        : `train the default model on ${devices ?? 1} virtual device${devices === undefined || devices === 1 ? '' : 's'}, with ${device}`,
    );
  }
  if (upload !== undefined) {
    const where = `${quoteAddress(upload)} on this page's server`;
    wishes.push(`send checkpoints, weights and gradients of what this tab trains to ${where}`);
  }
  return wishes;
}

function jobText(job: Job): string {
  const { model, data, layout, steps } = configOf(job);
  const ranks = worldSize(layout);
  const files = Object.entries(job.files)
    .filter(([, address]) => address !== undefined)
    .map(([name]) => name);
  const what = `train ${quote(model)} on ${quote(data)}`;
  return (
    `${what} for ${steps} steps (${formatLayout(layout)}, ${ranks} rank${ranks === 1 ? '' : 's'})` +
    (files.length ? `, loading ${files.join(', ')} from this page's server` : '')
  );
}
