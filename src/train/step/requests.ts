// What ranks ask of a run while it trains. A rank's requests travel with its report at the end of a step, so that all
// act on them at the same step.

/** `pause`: all wait after the step. */
export interface Requests {
  readonly stop: boolean;
  readonly save: boolean;
  readonly sample: boolean;
  readonly pause?: boolean;
}

export const NO_REQUESTS: Requests = { stop: false, save: false, sample: false };

/** What any of the ranks asked for. */
export function anyOf(requests: readonly Requests[]): Required<Requests> {
  const asked = (request: keyof Requests): boolean => requests.some((own) => own[request] === true);
  return { stop: asked('stop'), save: asked('save'), sample: asked('sample'), pause: asked('pause') };
}
