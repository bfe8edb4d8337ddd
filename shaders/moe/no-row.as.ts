// What slotOf and source of a permutation hold where there is nothing; see moe-permute.ts.

export const NO_ROW: u32 = 0xffffffff;
