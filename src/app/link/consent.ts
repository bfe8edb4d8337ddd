// What a link would have this tab do without a click, in words, for the person to allow or not. Pure; no DOM.

import { formatLayout, worldSize } from '../../base/axis.ts';
import type { PageSettings } from '../fragment.ts';
import { configOf } from '../plan.ts';
import type { Plan } from '../plan.ts';

/** One sentence for each thing; none where the link only says what the page should show. */
export function wishesOfLink(settings: PageSettings): readonly string[] {
  const { room, auto, upload, plan, backend, devices } = settings;
  const device = backend === 'cpu' ? "this machine's processor" : "this device's GPU";
  const wishes: string[] = [];
  if (auto && room) {
    const over = room.broker === 'none' ? 'tabs of this browser' : room.broker ? `the broker ${room.broker}` : "this page's server";
    wishes.push(`join the room ${room.room} over ${over}: its members see your network address`, `lend ${device} to what the room trains`);
    if (plan) wishes.push(`propose to the room to ${planText(plan)}`);
  } else if (auto) {
    wishes.push(plan ? `${planText(plan)}, with ${device}` : `train the default model on ${devices ?? 1} virtual device${devices === undefined || devices === 1 ? '' : 's'}, with ${device}`);
  }
  if (upload !== undefined) wishes.push(`send checkpoints, weights and gradients of what this tab trains to ${upload} on this page's server`);
  return wishes;
}

/** The settings with what the person did not allow taken out; what is left only fills in the page. */
export function withoutWishes({ auto: _, upload: __, ...rest }: PageSettings): PageSettings { return { ...rest, auto: false }; }

function planText(plan: Plan): string {
  const { model, data, layout, steps } = configOf(plan);
  const ranks = worldSize(layout);
  const files = Object.entries(plan.files).filter(([, address]) => address !== undefined).map(([name]) => name);
  return `train ${model} on ${data} for ${steps} steps (${formatLayout(layout)}, ${ranks} rank${ranks === 1 ? '' : 's'})`
    + (files.length ? `, loading ${files.join(', ')} from this page's server` : '');
}
