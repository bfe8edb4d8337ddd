// Files of this tab in the runs of a room: what this page has is described in its job, what others have comes over the
// mesh (workers/shared-files.ts) and is kept by its hash, and the person is asked before a large download.

import { formatBytes } from '../../../../base/format-bytes.ts';
import { describeFile } from '../../../../cluster/files/shared-file.ts';
import type { SharedFile } from '../../../../cluster/files/shared-file.ts';
import type { RankEvent, SharedFiles } from '../../../../../workers/protocol.ts';
import { configOf } from '../../job.ts';
import type { Job, JobContents, JobFiles } from '../../job.ts';
import type { Moved } from '../../files/transfers.ts';
import type { PageState } from '../page-state.ts';
import { FileShelf } from './file-shelf.ts';

const NAMES: Readonly<Record<keyof JobFiles, string>> = {
  text: 'text',
  tokens: 'tokens.safetensors',
  modelConfig: 'config.json',
  weights: 'model.safetensors',
  tokenizer: 'tokenizer.json',
  tokenizerConfig: 'tokenizer_config.json',
  checkpoint: 'checkpoint',
};

export interface RoomFilesContext {
  readonly change: (change: Partial<PageState>) => void;
  /** A file has moved on. */
  readonly moved: (news: Moved) => void;
  /** The answer for the worker that asks. */
  readonly answer: (agreed: boolean) => void;
}

export class RoomFiles {
  readonly #context: RoomFilesContext;
  readonly #shelf: FileShelf;
  #by = '';
  #declined = false;

  constructor(context: RoomFilesContext, shelf = new FileShelf()) {
    this.#context = context;
    this.#shelf = shelf;
  }

  /** The person did not want the files of this run. */
  get declined(): boolean {
    return this.#declined;
  }

  /** A run that `by` wants is formed. */
  begin(by: string): void {
    this.#by = by;
    this.#declined = false;
  }

  /** The job that says what is given here. Rejects with LimitError for what is too large. */
  async share(job: Job, given: JobContents): Promise<Job> {
    const { data } = configOf(job);
    const shared: Record<string, SharedFile> = { ...job.shared };
    for (const [field, content] of Object.entries(given) as [
      keyof JobFiles,
      string | Uint8Array<ArrayBuffer> | undefined,
    ][]) {
      if (content === undefined) continue;
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      const file = (shared[field] = await describeFile(field === 'text' ? data : NAMES[field], bytes));
      this.#shelf.put(file.hash, bytes);
    }
    return Object.keys(shared).length > 0 ? { ...job, shared } : job;
  }

  /** This tab has the file until it is dropped. */
  async keep(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<SharedFile> {
    const file = await describeFile(name, bytes);
    this.#shelf.keep(file.hash, bytes);
    return file;
  }

  drop(hash: string): void {
    this.#shelf.drop(hash);
  }

  /**
   * What a worker must know of the shared files of a job; undefined where there are none. `names` are those of the
   * ranks' tabs.
   */
  of({ shared }: Job, names: readonly string[]): SharedFiles | undefined {
    const files = Object.entries(shared ?? {}).map(([field, file]) => ({ ...file, field: field as keyof JobFiles }));
    this.#shelf.need(files.map(({ hash }) => hash));
    if (files.length === 0) return undefined;
    const held = new Map(
      files.flatMap(({ hash, bytes }) => {
        const own = this.#shelf.get(hash);
        return own?.length === bytes ? [[hash, own] as const] : [];
      }),
    );
    return { files, held, names };
  }

  /** Takes an event of our rank that is about files. True if it was. */
  took(event: RankEvent): boolean {
    const { change, moved } = this.#context;
    switch (event.kind) {
      case 'progress': {
        const { file, way, peers, whole } = event;
        const over = event.moved === whole;
        const who = `${way === 'in' ? 'from' : 'to'} ${peers.join(', ')}`;
        moved({ key: `${way} ${file.hash}`, name: file.name, way, moved: event.moved, whole, who });
        if (way === 'in')
          change({
            status: over
              ? `${file.name} is here (${formatBytes(file.bytes)})`
              : `receiving ${file.name}: ${formatBytes(event.moved)} of ${formatBytes(file.bytes)}`,
          });
        return true;
      }
      case 'file':
        this.#shelf.put(event.file.hash, event.content);
        return true;
      case 'download': {
        const question = `${this.#by || 'Somebody'}'s run needs ${formatBytes(event.total)} that other tabs have: ${event.files.join(', ')}. Download?`;
        change({ question, status: 'waiting for your answer: may this tab download the files of the run?' });
        return true;
      }
      default:
        return false;
    }
  }

  /** The person has answered the question. */
  answer(agreed: boolean): void {
    this.#context.change({
      question: undefined,
      status: agreed ? 'downloading from the other tabs' : 'the download was refused',
    });
    this.#declined = !agreed;
    this.#context.answer(agreed);
  }
}
