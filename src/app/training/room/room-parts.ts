// The parts of a page that live in a room, joined to each other and to the page's controller.

import { realWorld } from '../../../base/world.ts';
import type { Presence } from '../../../cluster/presence.ts';
import type { Session, Wanted } from '../../../cluster/session.ts';
import type { Moved } from '../files/transfers.ts';
import type { RankHost } from '../rank-host.ts';
import { RunActs } from './acts.ts';
import { CheckpointKeeper } from './checkpoint-keeper.ts';
import { RoomFiles } from './files/room-files.ts';
import type { PageState } from './page-state.ts';
import { RoomResume } from './resume.ts';
import { RoomWatch } from './watch.ts';

export interface RoomPartsContext {
  readonly state: () => PageState;
  readonly change: (change: Partial<PageState>) => void;
  /** A file has moved on. */
  readonly moved: (news: Moved) => void;
  readonly closeTransfer: (key: string) => void;
  readonly session: () => Session | undefined;
  readonly hosts: () => readonly RankHost[];
  /** The hosts, which are the caller's to end from now on. */
  readonly takeHosts: () => readonly RankHost[];
  readonly propose: (wanted: Wanted) => void;
}

export interface RoomParts {
  readonly files: RoomFiles;
  readonly keeper: CheckpointKeeper;
  readonly resume: RoomResume;
  readonly acts: RunActs;
  readonly watch: RoomWatch;
  /** Who is in the room has changed. */ roster(members: readonly Presence[], me: Presence): void;
}

export function createRoomParts(context: RoomPartsContext): RoomParts {
  const { state, change, moved, closeTransfer, session, hosts } = context;
  const files = new RoomFiles({
    change,
    moved,
    answer: (agreed) => {
      hosts()[0]
        ?.answer(agreed)
        .catch(() => undefined);
    },
  });
  const keeper = new CheckpointKeeper({
    state,
    change,
    moved,
    closeTransfer,
    files,
    // Without it the rank loads what it may have; a host that is gone has nothing.
    identify: (step, hash) =>
      void hosts()[0]
        ?.identify(step, hash)
        .catch(() => undefined),
    announce: (holds) => session()?.update({ holds }),
  });
  const resume = new RoomResume(context);
  const acts = new RunActs({
    ...context,
    world: realWorld,
    wantFile: () => keeper.wantFile(),
    onStop: (run) => resume.stopped(run),
  });
  const watch = new RoomWatch({
    session,
    now: () => realWorld.now(),
    onWatched: (heard) => {
      if (!session()?.me.run) change(heard);
    },
    own: (run) => (resume.known?.run === run ? resume.known : undefined),
    onKnown: (known) => {
      resume.know(known);
      resume.roster();
    },
  });
  return {
    files,
    keeper,
    resume,
    acts,
    watch,
    roster(members, me) {
      watch.roster(members, me);
      resume.roster();
      acts.roster();
    },
  };
}
