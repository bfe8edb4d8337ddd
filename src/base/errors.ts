// Every error that a user can meet: fields for machines, one sentence for people (where: expected, got; what to do).
// Our own bugs are InternalError and start with `internal:`. Each class states its name as text, because minifiers
// rename classes.

export class TabmeshError extends Error {
  override readonly name: string = 'TabmeshError';
}

/** A broken promise between our own parts; never the user's fault. */
export class InternalError extends TabmeshError {
  override readonly name: string = 'InternalError';
  constructor(message: string) {
    super(`internal: ${message}`);
  }
}

/** Thrown when a flag, a config field or a page setting cannot be used. `where` names the field. */
export class ConfigError extends TabmeshError {
  override readonly name: string = 'ConfigError';
  readonly where: string;
  constructor(where: string, detail: string) {
    super(`${where}: ${detail}`);
    this.where = where;
  }
}

/**
 * A ConfigError for something well known that is not implemented: what asks for it is refused by name, never computed
 * without it.
 */
export class UnsupportedError extends ConfigError {
  override readonly name: string = 'UnsupportedError';
}

/** Thrown when a parallel layout does not fit the ranks, heads, layers, vocabulary or batch. */
export class LayoutError extends TabmeshError {
  override readonly name: string = 'LayoutError';
}

/** Thrown when tensors of an op or a collective have the wrong shape, or numbers to be kept are not finite. */
export class ShapeError extends TabmeshError {
  override readonly name: string = 'ShapeError';
}

/**
 * Thrown for bytes that break a format (safetensors, frame, JSON, tokenizer file), and for a file that does not fit the
 * one beside it. `format` names it.
 */
export class FormatError extends TabmeshError {
  override readonly name: string = 'FormatError';
  readonly format: string;
  constructor(format: string, detail: string) {
    super(`${format}: ${detail}`);
    this.format = format;
  }
}

/** Thrown when a request exceeds what the adapter, the browser or our own caps allow. */
export class LimitError extends TabmeshError {
  override readonly name: string = 'LimitError';
}

/** Thrown when no usable WebGPU device can be had; the sentence says what to do in this browser. */
export class NoDeviceError extends TabmeshError {
  override readonly name: string = 'NoDeviceError';
}

/**
 * Thrown between two steps when a variant that ran until then does not give the right results on this adapter. It is
 * remembered, so the next run takes another.
 */
export class ComputedWronglyError extends TabmeshError {
  override readonly name: string = 'ComputedWronglyError';
  constructor(kernel: string, variant: string, reason: string) {
    super(
      `self-check: this adapter computes ${kernel} wrongly in the variant ${variant}, which the steps so far used (${reason}); train again, from the last checkpoint before this run: another variant will run`,
    );
  }
}

/**
 * Thrown before training when no variant of a kernel gives the right results on this adapter: the device may not join.
 */
export class SelfCheckError extends TabmeshError {
  override readonly name: string = 'SelfCheckError';
  readonly kernel: string;
  /** What was wrong, by variant. */
  readonly reasons: Readonly<Record<string, string>>;
  constructor(kernel: string, reasons: Readonly<Record<string, string>>) {
    const list = Object.entries(reasons)
      .map(([variant, reason]) => `${variant}: ${reason}`)
      .join('; ');
    super(
      `self-check: this adapter computes ${kernel} wrongly in every variant (${list}); update the graphics driver, or join with another browser or device`,
    );
    this.kernel = kernel;
    this.reasons = reasons;
  }
}

/** Thrown on every rank alike when no sample of the model could be made; the training goes on. */
export class SampleError extends TabmeshError {
  override readonly name: string = 'SampleError';
  constructor(detail: string) {
    super(`sample: ${detail}`);
  }
}

/** Thrown on every rank alike when the files of a run cannot be brought to all of them; nothing was trained. */
export class FilesError extends TabmeshError {
  override readonly name: string = 'FilesError';
  constructor(detail: string) {
    super(`files: ${detail}`);
  }
}

/** Rejected by everything in flight on a device after it, or a thread that computes, went away; `what` says which. */
export class DeviceLostError extends TabmeshError {
  override readonly name: string = 'DeviceLostError';
  readonly reason: string;
  constructor(reason: string, what = 'the GPU') {
    super(`device: ${what} was lost (${reason}); start again, from the last checkpoint if there is one`);
    this.reason = reason;
  }
}

/** Thrown when a file cannot be written; `path` as it was given. */
export class FileError extends TabmeshError {
  override readonly name: string = 'FileError';
  readonly path: string;
  constructor(path: string, reason: string) {
    super(`'${path}' cannot be written: ${reason}`);
    this.path = path;
  }
}

/** How we know that a peer failed. */
export type Evidence =
  | 'closed'
  | 'left'
  | 'silent'
  | 'slow'
  | 'wrong-signature'
  | 'corrupt'
  | 'non-finite'
  | 'device-lost'
  | 'version'
  | 'crashed';

/**
 * A peer that failed, by name. Every surviving rank ends the step with one of these; `culprit` is the rank at fault,
 * which may not be the rank that we were waiting for (its abort message names the culprit).
 */
export class PeerError extends TabmeshError {
  override readonly name: string = 'PeerError';
  readonly culprit: number;
  readonly evidence: Evidence;
  constructor(culprit: number, evidence: Evidence, detail: string, options?: { readonly cause?: unknown }) {
    super(`rank ${culprit} ${evidence}: ${detail}`, options);
    this.culprit = culprit;
    this.evidence = evidence;
  }
}

/** Why a room let us go: for the page to choose its words and its button. */
export type RoomTrouble = 'duplicate' | 'removed' | 'version' | 'broker' | 'unreachable' | 'closed' | 'job';

/** Thrown when a room cannot be joined, when it closes us, or when a group of tabs cannot be connected. */
export class RoomError extends TabmeshError {
  override readonly name: string = 'RoomError';
  readonly trouble: RoomTrouble;
  constructor(trouble: RoomTrouble, detail: string, options?: { readonly cause?: unknown }) {
    super(`room: ${detail}`, options);
    this.trouble = trouble;
  }
}

/**
 * Thrown when pages cannot be served or a browser cannot be started for them: a port that is taken, a build that
 * failed, no display.
 */
export class ServeError extends TabmeshError {
  override readonly name: string = 'ServeError';
}

/** The user (or a closing page) stopped the run; not a failure. */
export class AbortedError extends TabmeshError {
  override readonly name: string = 'AbortedError';
  constructor(message = 'the run was stopped') {
    super(message);
  }
}
