// Batches from a file of tokens: step s is what the file has for it, and nothing is held out. Beside the tokens it may
// say which document each belongs to, and which targets count.

import { ConfigError, FormatError, InternalError, UnsupportedError } from '../../base/errors.ts';
import { toInt32 } from '../../base/safetensors.ts';
import type { SafetensorsFile } from '../../base/safetensors.ts';
import { formatShape } from '../../base/shape.ts';
import { IGNORED } from '../../model/language/token-rows.ts';
import { batchOf } from './batch.ts';
import type { Batch } from './batch.ts';
import { checkIndex, checkTokens } from './dataset.ts';
import type { Dataset } from './dataset.ts';

/** Beside a model folder's weights, and in errors where a file has no other name. */
export const TOKENS_FILE = 'tokens.safetensors';
const WHOLE: readonly string[] = ['I32', 'I64', 'U64', 'U32', 'I16', 'U16', 'I8', 'U8'];
/** More than any vocabulary in use; a stray id must not make a model of gigabytes. */
const MAX_VOCAB = 2 ** 21;
const KNOWN = ['tokens', 'documents', 'targets'];

interface Sizes {
  readonly steps: number;
  readonly batch: number;
  readonly context: number;
  /** The name of the file, for errors. */
  readonly file: string;
}

/**
 * `tokens` [steps, batch, T + 1] are whole numbers below `vocab`; without it, it is one more than the largest token,
 * and at least 2. `documents` [steps, batch, T], if there: equal neighbours are one document. `targets`
 * [steps, batch, T], if there: tokens, or -100 where nothing is counted; by default the next token, except at the end
 * of a document. Errors call the file `name`, and name the entry by step, row and column.
 */
export function tokensDataset(file: SafetensorsFile, vocab?: number, name = TOKENS_FILE): Dataset {
  const tokens = wholeNumbers(file, 'tokens', name);
  if (!tokens)
    throw new FormatError(
      name,
      `expected a tensor called tokens, got ${[...file.tensors.keys()].slice(0, 5).join(', ') || 'none'}`,
    );
  const others = [...file.tensors.keys(), ...file.foreign.keys()].filter((tensor) => !KNOWN.includes(tensor));
  if (others.length)
    throw new UnsupportedError(
      name,
      `expected the tensors ${KNOWN.join(', ')}, got also ${others.slice(0, 5).join(', ')}: ` +
        'positions and masks beside the tokens are not implemented, and without them the loss would be another one',
    );
  const [steps, batch, columns] = tokens.shape;
  if (tokens.shape.length !== 3 || !steps || !batch || !columns || columns < 2)
    throw new FormatError(name, `tokens: expected [steps, batch, T + 1], got ${formatShape(tokens.shape)}`);
  const sizes = { steps, batch, context: columns - 1, file: name };
  checkTokens(tokens.values, vocab ?? 2 ** 31, name, placeIn('token', batch, columns));
  const most = vocab ?? Math.max(2, largest(tokens.values) + 1);
  if (most > MAX_VOCAB)
    throw new ConfigError(
      'vocab',
      `${name}: its largest token is ${most - 1}, which would need a vocabulary of ${most}; at most ${MAX_VOCAB} are accepted without a model folder`,
    );
  const documents = besides(file, 'documents', sizes);
  const targets = besides(file, 'targets', sizes);
  if (targets) checkTargets(targets, most, sizes);
  return {
    vocab: most,
    batch,
    context: sizes.context,
    steps,
    packed: documents !== undefined,
    evalBatches: 0,
    batchAt(step) {
      if (checkIndex(step) >= steps)
        throw new ConfigError(
          'steps',
          `${name} has ${steps} steps, but step ${step} needs one; use steps ${steps} or less`,
        );
      const of = (values: Int32Array<ArrayBuffer>, width: number): Int32Array<ArrayBuffer> =>
        values.slice(step * batch * width, (step + 1) * batch * width);
      const plain = batchOf(of(tokens.values, columns), batch, sizes.context);
      const packed = documents ? inDocuments(plain, of(documents, sizes.context)) : plain;
      return targets ? { ...packed, targets: of(targets, sizes.context) } : packed;
    },
    evalAt() {
      throw new InternalError('evalAt of a dataset without held-out rows');
    },
  };
}

/** The last token of a document does not predict the first of the next. */
function inDocuments(batch: Batch, documents: Int32Array<ArrayBuffer>): Batch {
  const { context } = batch;
  const targets = batch.targets.map((target, i) =>
    i % context < context - 1 && documents[i] !== documents[i + 1] ? IGNORED : target,
  );
  return { ...batch, documents, targets };
}

function wholeNumbers(
  { tensors }: SafetensorsFile,
  name: string,
  file: string,
): { readonly values: Int32Array<ArrayBuffer>; readonly shape: readonly number[] } | undefined {
  const entry = tensors.get(name);
  if (!entry) return undefined;
  if (!WHOLE.includes(entry.dtype))
    throw new FormatError(file, `${name}: expected whole numbers (I32), got ${entry.dtype}`);
  return { values: toInt32(entry, `${file}: ${name}`), shape: entry.shape };
}

function besides(tensors: SafetensorsFile, name: string, { steps, batch, context, file }: Sizes) {
  const found = wholeNumbers(tensors, name, file);
  const want = [steps, batch, context];
  if (found && found.shape.join() !== want.join())
    throw new FormatError(
      file,
      `${name}: expected [steps, batch, T] = ${formatShape(want)}, got ${formatShape(found.shape)}`,
    );
  return found?.values;
}

function checkTargets(targets: Int32Array, vocab: number, { batch, context, file }: Sizes): void {
  const at = targets.findIndex((target) => target !== IGNORED && !(target >= 0 && target < vocab));
  if (at < 0) return;
  throw new ConfigError(
    'vocab',
    `${file}: ${placeIn('target', batch, context)(at)} is ${targets[at]}; expected 0 to ${vocab - 1}, or ${IGNORED} for one that is not counted`,
  );
}

function placeIn(what: string, batch: number, columns: number): (i: number) => string {
  const size = batch * columns;
  return (i) =>
    `${what} ${i} (step ${Math.floor(i / size)}, row ${Math.floor((i % size) / columns)}, column ${i % columns})`;
}

function largest(values: Int32Array): number {
  return values.reduce((a, b) => Math.max(a, b), 0);
}
