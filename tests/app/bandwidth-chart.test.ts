// The labels of the chart of bandwidths.

import { expect, it } from 'vitest';
import { sizeLabels } from '../../src/app/collectives/elements/bandwidth-chart.ts';

it('says nothing at a size that a narrow axis leaves out', () => {
  expect(sizeLabels([4096, null, null, 2 ** 24])).toEqual(['4 KiB', '', '', '16 MiB']);
});
