// Tells a program that drives the page what happens: one JSON text for every event through the global function
// `tabmeshReport`, in order. Bytes are uploaded before their event is told. Without that function and without an upload
// address it does nothing.

import { TabmeshError } from '../../base/errors.ts';
import type { SessionEvent } from '../../cluster/session.ts';
import type { RankEvent } from '../../../workers/protocol.ts';
import { sentence } from '../shared/sentence.ts';

export interface Reporter {
  session(event: SessionEvent): void;
  rank(rank: number, event: RankEvent): void;
  /** `text` of 'identity': that of this tab in rooms. */
  page(state: 'loaded' | 'identity' | 'error', text?: string): void;
}

type Report = (text: string) => unknown;

/** @param uploadTo asked each time: a link's address counts once it is allowed. */
export function createReporter(report: Report | undefined, uploadTo: () => string | undefined): Reporter {
  let sent: Promise<unknown> = Promise.resolve();
  const tell = (value: unknown): void => {
    if (!report) return;
    sent = sent
      .then(() => report(JSON.stringify(value)))
      .catch((error: unknown) => console.warn('tabmeshReport failed', error));
  };
  const send = (name: string, bytes: Uint8Array<ArrayBuffer>): void => {
    const upload = uploadTo();
    if (upload === undefined) return;
    const url = `${upload.replace(/\/$/, '')}/${name}.safetensors`;
    sent = sent
      .then(async () => {
        const response = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream' },
          body: bytes,
        });
        if (!response.ok) throw new TabmeshError(`status ${response.status}`);
      })
      .catch((error: unknown) =>
        report?.(
          JSON.stringify({
            type: 'page',
            state: 'error',
            text: `upload: ${url} did not take ${bytes.byteLength} bytes (${sentence(error)})`,
          }),
        ),
      );
  };
  return {
    session: (event) => {
      if (event.type !== 'news' && event.type !== 'asked') tell({ type: 'session', event: plainSession(event) });
    },
    rank(rank, event) {
      if ('content' in event) {
        const { content, ...rest } = event;
        tell({ type: 'rank', rank, event: { ...rest, content: { byteLength: content.byteLength } } });
      } else if ('bytes' in event) {
        send(`${event.kind}-${'step' in event ? event.step : 0}`, event.bytes);
        tell({ type: 'rank', rank, event: { ...event, bytes: { byteLength: event.bytes.byteLength } } });
      } else tell({ type: 'rank', rank, event });
    },
    page: (state, text) => tell({ type: 'page', state, ...(text === undefined ? {} : { text }) }),
  };
}

/** Without channels, and with errors as plain fields. */
function plainSession(event: SessionEvent): Record<string, unknown> {
  if (event.type === 'started') return { type: event.type, place: event.place };
  if (event.type === 'connections')
    return { type: event.type, diagnoses: [...event.diagnoses].map(([rank, diagnosis]) => ({ rank, ...diagnosis })) };
  if (event.type !== 'failed') return { ...event };
  const { name, message } = event.error;
  return {
    type: event.type,
    fatal: event.fatal,
    error: { name, message, ...('trouble' in event.error ? { trouble: event.error.trouble } : {}) },
  };
}
