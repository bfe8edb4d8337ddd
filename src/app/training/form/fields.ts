// The fields of the form in their groups: a label, a sentence of help, and how it is entered.

import { VOCABULARY_FORMS } from '../../../parallel/pipeline/schedule.ts';
import { DATA_NAMES, MODEL_NAMES } from '../../../train/tasks/registry.ts';

/**
 * `words`: choices that stand in a list; `texts`, `models`, `schedules`, `strategies`: choices that the page knows
 * later; `number`, `text`: written.
 */
export type FieldKind =
  'number' | 'text' | 'layouts' | 'models' | 'texts' | 'schedules' | 'strategies' | readonly Option[];
export interface Option {
  readonly value: string;
  readonly name: string;
}

export interface FormField {
  readonly name: string;
  readonly label: string;
  readonly help: string;
  readonly kind: FieldKind;
}
export interface FieldGroup {
  readonly name: string;
  readonly fields: readonly FormField[];
}

const plain = (...values: readonly string[]): readonly Option[] => values.map((value) => ({ value, name: value }));
const field = (name: string, label: string, kind: FieldKind, help: string): FormField => ({ name, label, kind, help });

export const MODELS: readonly Option[] = plain(...MODEL_NAMES);
export const TEXTS: readonly Option[] = DATA_NAMES;

export const GROUPS: readonly FieldGroup[] = [
  {
    name: 'Model and data',
    fields: [
      field('model', 'Model', 'models', 'A network to train from nothing, or a model folder that you dropped here.'),
      field('data', 'Data', 'texts', 'What it learns: a text, or a task whose best loss is known.'),
      field(
        'tokenizer',
        'Tokenizer',
        plain('auto', 'chars', 'bytes', 'bpe:512', 'bpe:1024'),
        'How text becomes numbers; auto is the model’s own, or one number per character.',
      ),
      field('context', 'Tokens per row', 'number', 'How far it looks back; none is as far as the model can.'),
      field('batch', 'Rows per step', 'number', 'Rows in a step, over all devices.'),
      field('seed', 'Seed', 'number', 'Equal seeds and settings give equal runs.'),
    ],
  },
  {
    name: 'Mesh',
    fields: [
      field(
        'layout',
        'Layout (mesh)',
        'layouts',
        'How the work is split: dp rows, pp layers, tp heads, sp tokens, ep experts.',
      ),
      field(
        'microbatches',
        'Microbatches',
        'number',
        'Parts that each replica cuts its rows into, so that pipeline stages work at once.',
      ),
      field(
        'schedule',
        'Pipeline schedule',
        'schedules',
        'The order in which a stage takes its microbatches; 1f1b needs least memory.',
      ),
      field('chunks', 'Chunks per pipeline rank', 'number', 'Pieces of the network on each pipeline rank.'),
      field(
        'vocab',
        'Vocabulary in a pipeline',
        plain(...VOCABULARY_FORMS),
        'Whether all ranks of a pipeline share the embedding and the head, and how; none leaves them at its ends.',
      ),
      field('sequence', 'Sequence strategy', 'strategies', 'How devices that share a row exchange keys and values.'),
    ],
  },
  {
    name: 'Optimiser',
    fields: [
      field('lr', 'Learning rate', 'number', 'How far a step moves the weights; too much diverges, too little crawls.'),
      field(
        'warmup',
        'Warm-up',
        'number',
        'Steps in which the rate rises from near 0, so that the first steps do no harm.',
      ),
      field(
        'decay',
        'Decay',
        plain('none', 'cosine', 'linear'),
        'How the rate falls after the warm-up until the last step.',
      ),
      field('minLr', 'Last rate', 'number', 'Where the decay ends.'),
      field('weightDecay', 'Weight decay', 'number', 'Pulls matrices towards 0 at each step; 0 is off.'),
      field('gradClip', 'Clipping', 'number', 'A gradient longer than this is shortened to it; none is off.'),
      field(
        'precision',
        'Precision',
        plain('f32', 'f16'),
        'f16 lets products round to half precision where the GPU can; sums stay f32.',
      ),
    ],
  },
  {
    name: 'While it trains',
    fields: [
      field('steps', 'Steps', 'number', 'Steps in all.'),
      field('evalEvery', 'Evaluate every', 'number', 'Steps between looks at held-out data; 0 is never.'),
      field('sampleEvery', 'Sample every', 'number', 'Steps between texts that the model writes; 0 is never.'),
      field(
        'checkpointEvery',
        'Checkpoint every',
        'number',
        'Steps between checkpoints that this browser keeps; 0 is never.',
      ),
    ],
  },
];
