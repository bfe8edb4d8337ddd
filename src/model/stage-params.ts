// The parameters of one stage on one rank, from the weights that its family lists: each is glued from the parts of
// weights that the rank holds.

import { InternalError } from '../base/errors.ts';
import type { ModelConfig } from './config.ts';
import { givesLosses, vocabRows } from './param-spec.ts';
import type { ParamSpec, Segment, StageRange, WeightPart } from './param-spec.ts';
import type { ShardPlace } from './parallelism.ts';
import { familyOf, networkOf } from './registry.ts';
import type { ModelWeights, Weight } from './weight.ts';

/** The last stage's copy of a tied embedding that the first stage owns. */
const TIED_HEAD = 'tiedHead';

type Place = Pick<ShardPlace, 'tp' | 'ep'>;

/** In the order of the weights. UnsupportedError for a network that is not implemented. */
export function stageParams(config: ModelConfig, range: StageRange, place: Place): readonly ParamSpec[] {
  networkOf(config);
  const weights = familyOf(config).weights(config);
  const own = (weight: Weight): boolean => !range.sharedVocabulary || weight.cut !== 'vocabulary';
  const held: Weight[] = range.first ? weights.embedding.filter(own) : [];
  for (let layer = range.firstLayer; layer < range.endLayer; layer++) held.push(...weights.layer(layer));
  if (range.last) held.push(...weights.end.filter(own));
  const byParam = new Map<string, Weight[]>();
  for (const weight of held) {
    const others = byParam.get(weight.param);
    if (others) others.push(weight);
    else byParam.set(weight.param, [weight]);
  }
  const specs = [...byParam].map(([name, own]) => paramOf(name, own, place));
  if (givesLosses(range) && config.tied && !range.first)
    specs.push({ ...paramOf(TIED_HEAD, [tableOf(weights)], place), segment: 'tied' });
  return specs;
}

/** Shard `place.rank` of `place.size` of the tables of the vocabulary, each cut by rows. */
export function vocabularyParams(
  config: ModelConfig,
  place: { readonly rank: number; readonly size: number },
): readonly ParamSpec[] {
  networkOf(config);
  const { embedding, end } = familyOf(config).weights(config);
  return [...embedding, ...end]
    .filter(({ cut }) => cut === 'vocabulary')
    .map((weight) => paramOf(weight.param, [weight], { tp: place, ep: { rank: 0, size: 1 } }));
}

/** Name of the parameter that holds the head's rows on a stage. */
export function headName(config: ModelConfig, { first }: Pick<StageRange, 'first'>): string {
  const weights = familyOf(config).weights(config);
  if (config.tied) return first ? tableOf(weights).param : TIED_HEAD;
  return vocabulary(weights.end, 'end').param;
}

/** Name of the parameter that holds the embedding's rows where it is. */
export function tableName(config: ModelConfig): string {
  return tableOf(familyOf(config).weights(config)).param;
}

/** The table of the tokens. */
export function tableOf({ embedding }: ModelWeights): Weight {
  return vocabulary(embedding, 'embedding');
}

function vocabulary(weights: readonly Weight[], where: string): Weight {
  const found = weights.find(({ cut }) => cut === 'vocabulary');
  if (!found) throw new InternalError(`weights: expected one that is cut by the vocabulary in ${where}, found none`);
  return found;
}

/** The weight as a matrix [out, in]; a vector has one column. */
export function asMatrix({ shape, transposed }: Weight): readonly [rows: number, cols: number] {
  const [rows, cols] = [shape[0], shape[1] ?? 1];
  return transposed ? [cols, rows] : [rows, cols];
}

function paramOf(name: string, weights: readonly Weight[], { tp, ep }: Place): ParamSpec {
  const [first] = weights;
  const { shape, cut, expert, decays } = first;
  const parts: WeightPart[] = [];
  let [row, padding, width] = [0, 0, 0];
  for (const weight of weights) {
    const alike = weight.cut === cut && weight.decays === decays && weight.expert?.of === expert?.of;
    if (!alike || asMatrix(weight)[1] !== asMatrix(first)[1])
      throw new InternalError(`weights: ${first.name} and ${weight.name} cannot be glued, but both are ${name}`);
    if (weight.expert && Math.floor((weight.expert.index * ep.size) / weight.expert.of) !== ep.rank) continue;
    const [rows, cols] = asMatrix(weight);
    const add = (count: number, sourceRow: number, sourceCol = 0): void => {
      parts.push({
        weight: weight.name,
        row,
        rows: count,
        sourceRow,
        sourceCol,
        transposed: weight.transposed ?? false,
      });
      row += count;
    };
    width = cut === 'columns' ? cols / tp.size : cols;
    if (cut === 'whole') add(rows, 0);
    else if (cut === 'columns') add(rows, 0, tp.rank * width);
    else if (cut === 'vocabulary') {
      const padded = vocabRows(rows, tp.size);
      const from = Math.min(rows, tp.rank * padded);
      const own = Math.min(padded, rows - from);
      add(own, from);
      padding = padded - own;
    } else {
      const { blocks = 1 } = weight;
      const own = rows / blocks / tp.size;
      for (let block = 0; block < blocks; block++) add(own, (block * rows) / blocks + tp.rank * own);
    }
  }
  row += padding;
  const local = expert ? expert.of / ep.size : undefined;
  const segment: Segment = expert ? 'expert' : cut === 'whole' ? 'replicated' : 'tensor';
  const extents = local ? [local, row / local, width] : shape.length === 1 ? [row] : [row, width];
  return { name, shape: extents, segment, decays, parts };
}
