// The name that somebody probably meant: the nearest of the known ones by edits (insert, delete, replace, swap of
// neighbours; Damerau and Levenshtein's distance), or one that begins with what was written.

/** Undefined where nothing is near: then a guess would only mislead. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  const word = given.toLowerCase();
  const ranked = known
    .map((name) => ({ name, edits: editsBetween(word, name.toLowerCase()) }))
    .sort((a, b) => a.edits - b.edits);
  const [best] = ranked;
  if (best && best.edits <= Math.max(1, Math.floor(Math.max(word.length, best.name.length) / 3))) return best.name;
  const begun = known.filter((name) => word.length >= 2 && (name.startsWith(word) || word.startsWith(name)));
  return begun.length === 1 ? begun[0] : undefined;
}

/** '; did you mean X?', or nothing. */
export function didYouMean(given: string, known: readonly string[], prefix = ''): string {
  const name = nearest(given, known);
  return name === undefined ? '' : `; did you mean ${prefix}${name}?`;
}

function editsBetween(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
