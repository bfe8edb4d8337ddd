// A worker of the page. It hosts one rank for every port that the page sends it; what ranks of one worker share is in
// worker-share.ts.

import { expose } from 'comlink';
import type { NewRank } from './protocol.ts';
import { Rank } from './rank.ts';
import { WorkerShare } from './worker-share.ts';

const share = new WorkerShare();
addEventListener('message', ({ data }: MessageEvent<NewRank>) => expose(new Rank(share), data.rank));
