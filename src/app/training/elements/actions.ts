// The row of buttons of the training page: what can be done now, in the room and with the run as they are.

import { html, nothing } from 'lit';
import { mainButton, pressOnce } from '../../shared/elements/main-button.ts';
import type { MainButton } from '../../shared/elements/main-button.ts';
import type { PageState, RunController } from '../run-controller.ts';
import { devicesIn, tabs } from '../form/suggestion.ts';
import { checkpointName } from './app-parts.ts';

/** What the buttons depend on, and what they do beyond the controller. */
export interface Acting {
  readonly state: PageState;
  readonly controller: RunController;
  /** The link leads into a room that this tab is not in. */
  readonly invited: boolean;
  /** Ranks of the layout in the form. */
  readonly needed: number;
  /** The form holds what cannot be trained. */
  readonly blocked: boolean;
  /** A field of the form holds what is no value. */
  readonly refused: boolean;
  /** Step of the checkpoint to go on from. */
  readonly resumable: number | undefined;
  readonly train: () => void;
  readonly join: () => void;
  readonly look: () => void;
  readonly goOn: () => void;
  readonly resume: () => void;
  readonly take: (files: readonly File[]) => void;
  readonly saveModel: (checkpoint: NonNullable<PageState['checkpoint']>) => void;
}

/**
 * Each button keeps its element while its meaning lasts, so that focus stays where it is; the first one becomes Pause
 * when the run begins.
 */
export function actions(page: Acting) {
  const { controller, state, invited } = page;
  const { phase, room, checkpoint, watching, stays, run, goOn } = state;
  const { busy } = controller;
  const main = mainAction(page);
  const running = phase === 'training' || phase === 'paused';
  const spare = room?.me?.role === 'trainer';
  const free = !busy && !watching;
  return html`<div class="row actions" @keydown=${pressOnce}>
    ${mainButton(main.name, main.press, main)}
    ${busy ? html`<button aria-disabled=${phase === 'stopping' ? 'true' : 'false'} @click=${() => controller.stop()}>${phase === 'starting' ? 'Cancel' : 'Stop'}</button>` : nothing}
    ${
      busy && phase !== 'starting'
        ? html`<button
              aria-disabled=${running ? 'false' : 'true'}
              @click=${() => {
                if (running) controller.save();
              }}
            >
              Save
            </button>
            <button
              aria-disabled=${running ? 'false' : 'true'}
              @click=${() => {
                if (running) controller.sample();
              }}
            >
              Sample now
            </button>`
        : nothing
    }
    ${
      free && invited
        ? html`<button
            @click=${() => {
              page.look();
            }}
          >
            Look first
          </button>`
        : nothing
    }
    ${
      free && !invited && room?.joined && !spare
        ? html`<button
            @click=${() => {
              void controller.help();
            }}
          >
            Lend this device
          </button>`
        : nothing
    }
    ${free && goOn !== undefined ? html`<button class="primary" title="The same run, with the tabs that are here" @click=${() => page.goOn()}>Go on from step ${goOn}</button>` : nothing}
    ${
      free && page.resumable !== undefined && (!room || room.joined)
        ? html`<button
            title="A run from this checkpoint, with the steps and the layout of the form"
            ?disabled=${page.refused}
            @click=${() => {
              page.resume();
            }}
          >
            Resume from step ${page.resumable}
          </button>`
        : nothing
    }
    ${
      free
        ? html`<label class="button"
            ><input
              type="file"
              multiple
              accept=".safetensors,.json,.txt,.md,text/*"
              title="A text, a checkpoint, or the files of a model folder"
              @change=${(event: Event) => {
                page.take([...((event.target as HTMLInputElement).files ?? [])]);
              }}
            />Load a file</label
          >`
        : nothing
    }
    ${free && (checkpoint || stays) ? html`<button @click=${() => controller.save()}>Save ${checkpointName(stays ? run!.step : checkpoint!.step)}</button>` : nothing}
    ${free && checkpoint ? html`<button title="A zip of config.json, model.safetensors and the tokenizer, without the optimizer's state: for other programs, or to train on" @click=${() => page.saveModel(checkpoint)}>Model of step ${checkpoint.step}</button>` : nothing}
  </div>`;
}

/** What the first button does now. */
function mainAction(page: Acting): MainButton & { readonly name: string; readonly press: () => void } {
  const { controller, needed, invited } = page;
  const { phase, room, watching, goOn } = page.state;
  const nothing = (): void => {};
  if (phase === 'starting') return { name: 'Starting', press: nothing, idle: true };
  if (phase === 'stopping') return { name: 'Stopping', press: nothing, idle: true };
  if (phase === 'paused') return { name: 'Resume', press: () => controller.resume() };
  if (phase === 'training') return { name: 'Pause', press: () => controller.pause(), primary: false };
  // A run belongs to those in it: who watches may help with the next group, or wait.
  if (watching)
    return room?.me?.role === 'trainer'
      ? { name: 'Only watch', press: () => controller.rest(), primary: false }
      : {
          name: 'Help: be a spare',
          press: () => {
            void controller.help();
          },
        };
  const missing = needed - (devicesIn(room) ?? needed);
  if (invited) return { name: 'Join this room', press: page.join };
  return {
    name: room?.joined ? `Train with ${tabs(needed)}${missing > 0 ? ` (${missing} more needed)` : ''}` : 'Train now',
    press: page.train,
    blocked: page.blocked,
    // To go on with what was lost comes first.
    primary: goOn === undefined,
  };
}
